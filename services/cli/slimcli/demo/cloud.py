"""The cloud of the demo: a child process that stops with the demo, however the demo ends.

It runs in a session of its own, so that Ctrl-C in the terminal reaches the demo alone, which then
stops edge and cloud in order; and the kernel ends it when the demo is killed (`slimops.supervise`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from slimcli.exits import UnavailableError
from slimcloud.addresses import CloudAddresses

START_SECONDS = 60.0  # models are loaded and a canary is run; slow machines, busy machines
STOP_SECONDS = 2.5  # the edge takes at most as much, and Ctrl-C promises five for both
_POLL_SECONDS = 0.05
_PREFIX = "slimwire-demo-"
_LOG_TAIL_CHARACTERS = 1500


class CloudProcess:
    """`slimwire cloud --role all` with an embedded Redis. Start it from the main thread: the
    kernel's promise is bound to the thread that started it.

    Args:
        model, models: Of the codec.
        http_port: Of the page.
        labels: Of detections to keep; none: all.
    """

    def __init__(
        self, model: str, models: Path | None, http_port: int, labels: Sequence[str] = ()
    ) -> None:
        _remove_leftovers()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._state_file = self._directory / "cloud.json"
        self._log = self._directory / "cloud.log"
        self._environment = os.environ | {
            "CLOUD_MODEL": model,
            "CLOUD_GRPC_PORT": "0",
            "CLOUD_HTTP_PORT": str(http_port),
            "CLOUD_STATE_FILE": str(self._state_file),
            "CLOUD_STOP_SECONDS": "1",
        }
        if labels:
            self._environment["CLOUD_DETECT_LABELS"] = ",".join(labels)
        if models is not None:
            self._environment["CLOUD_MODELS_ROOT"] = str(models)
        for name in ("CLOUD_REDIS_URL", "CLOUD_REDIS_URL_FILE"):  # the demo brings its own
            self._environment.pop(name, None)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        import slimops.supervise

        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *("-I", "-S", slimops.supervise.__file__, str(os.getpid())),
                    *(sys.executable, "-m", "slimcli", "cloud", "--role", "all"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def stop(self) -> None:
        """End it in order; by force when it takes too long. Harmless when it has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def ready(self) -> tuple[str, str]:
        """Where it serves cameras (host:port) and people (URL), once it does.

        Raises:
            UnavailableError: it ended, or is not ready in time; with the end of its log.
        """
        give_up = time.monotonic() + START_SECONDS
        while not self._state_file.exists():
            self.check()
            if time.monotonic() > give_up:
                raise UnavailableError(
                    f"the cloud is not ready after {START_SECONDS:.0f} s; {self._log_tail()}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        addresses = CloudAddresses.read(self._state_file)
        assert addresses.grpc is not None, "role all has them both"
        assert addresses.http is not None, "role all has them both"
        return addresses.grpc, addresses.http

    def check(self) -> None:
        """Raise `UnavailableError` if it has ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise UnavailableError(f"the cloud ended with {code}; {self._log_tail()}")

    def _log_tail(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return f"the end of its log:\n{text[-_LOG_TAIL_CHARACTERS:].strip() or '(empty)'}"


def _remove_leftovers() -> None:
    """Remove the directories of demos that were killed; only our own user's."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            owner_pid = int(directory.name.removeprefix(_PREFIX).split("-")[0])
            ours = directory.stat().st_uid == os.getuid()
            if ours and not Path(f"/proc/{owner_pid}").exists():
                shutil.rmtree(directory)
