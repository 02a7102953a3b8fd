"""The cloud of the demo: a child process that stops with the demo, however the demo ends."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from slimcli.exits import UnavailableError
from slimcloud.addresses import CloudAddresses
from slimops.child import ChildProcess

START_SECONDS = 120.0  # models are loaded and a canary is run; slow machines, busy machines
STOP_SECONDS = 2.5  # the edge takes at most as much, and Ctrl-C promises five for both
_POLL_SECONDS = 0.05


class CloudProcess:
    """`slimwire cloud --role all` with an embedded Redis; enter it on the main thread.

    Args:
        model, models: Of the codec.
        page: Listens where the page shall be; any free port when None.
        labels: Of detections to keep; none: all.
    """

    def __init__(
        self,
        model: str,
        models: Path | None,
        page: socket.socket | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        self._page = page
        self._settings = {
            "CLOUD_MODEL": model,
            "CLOUD_GRPC_PORT": "0",
            "CLOUD_HTTP_PORT": "0",
            "CLOUD_STOP_SECONDS": "1",
            "CLOUD_DETECT_LABELS": ",".join(labels),
        }
        if models is not None:
            self._settings["CLOUD_MODELS_ROOT"] = str(models)

    def __enter__(self) -> Self:
        self._child = ChildProcess("demo")
        self._state_file = self._child.directory / "cloud.json"
        environment = os.environ | self._settings
        environment["CLOUD_STATE_FILE"] = str(self._state_file)
        environment["CLOUD_DATA"] = str(self._child.directory / "data")  # goes with the demo
        for name in ("CLOUD_REDIS_URL", "CLOUD_REDIS_URL_FILE"):  # the demo brings its own
            environment.pop(name, None)
        inherit = []
        if self._page is not None:
            inherit.append(self._page.fileno())
            environment["CLOUD_HTTP_SOCKET"] = str(self._page.fileno())
        command = [sys.executable, "-m", "slimcli", "cloud", "--role", "all"]
        self._child.start(command, environment, inherit=inherit)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop(STOP_SECONDS)

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
                    f"the cloud is not ready after {START_SECONDS:.0f} s; {self._child.log_tail()}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        addresses = CloudAddresses.read(self._state_file)
        assert addresses.grpc is not None, "role all has them both"
        assert addresses.http is not None, "role all has them both"
        return addresses.grpc, addresses.http

    def check(self) -> None:
        """Raise `UnavailableError` if it has ended by itself."""
        if (end := self._child.how_it_ended()) is not None:
            raise UnavailableError(f"the cloud {end}")
