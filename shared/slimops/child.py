"""A program as our own child: in a private directory, and dead when we are.

It runs in a session of its own, so that Ctrl-C in a terminal reaches us alone, who then stop it in
order; the kernel ends it when we are killed (`slimops.supervise`). The directory goes at `stop`;
one that a killed process left is removed by the next start on the machine.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import slimops.supervise

_LOG_TAIL_CHARACTERS = 1500


class ChildProcess:
    """Start it from the main thread: the kernel's promise is bound to the thread that started it.

    Args:
        name: of the directory, which is `slimwire-<name>-...`.
        temporary: where it is made; the usual place when None.
    """

    def __init__(self, name: str, temporary: str | None = None) -> None:
        prefix = f"slimwire-{name}-"
        _remove_leftovers(Path(temporary or tempfile.gettempdir()), prefix)
        self.directory = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=temporary))
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start first"
        return self._process.pid

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        inherit: Sequence[int] = (),
    ) -> None:
        """Start a program, by its full path, which inherits some of our open files."""
        supervise = [sys.executable, "-I", "-S", slimops.supervise.__file__, str(os.getpid())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*supervise, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=inherit,
                start_new_session=True,
            )

    def how_it_ended(self) -> str | None:
        """Its exit code and the end of its log; None while it runs."""
        code = None if self._process is None else self._process.poll()
        return None if code is None else f"ended with {code}; {self.log_tail()}"

    def log_tail(self) -> str:
        """The last that it said."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return f"the end of its log:\n{text[-_LOG_TAIL_CHARACTERS:].strip() or '(empty)'}"

    def stop(self, seconds: float, *, by_force: bool = True) -> bool:
        """End it in order, and where that takes longer by force, or leave it to end by itself.

        Returns:
            Whether it has ended; it had long, perhaps.
        """
        process, self._process = self._process, None
        has_ended = True
        if process is not None:
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                if has_ended := by_force:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        return has_ended


def _remove_leftovers(place: Path, prefix: str) -> None:
    """Remove the directories of processes that were killed; only our own user's."""
    for directory in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError, ValueError):
            owner_pid = int(directory.name.removeprefix(prefix).split("-")[0])
            ours = directory.stat().st_uid == os.getuid()
            if ours and not Path(f"/proc/{owner_pid}").exists():
                shutil.rmtree(directory)
