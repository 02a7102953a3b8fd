"""The web server of the review role: uvicorn, on our own socket, without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

_LISTEN_BACKLOG = 512
_GRACE_SECONDS = 2  # for responses under way at a stop


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Binds at once, so that the address is known before the first request.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self._socket = socket.create_server((host, port), backlog=_LISTEN_BACKLOG)
        # accepted sockets inherit it; asyncio does not set it on theirs (their `proto` is 0), and
        # each answer on a kept connection then waited for the client's delayed ACK, 48 ms
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        scheme = "http" if tls_cert is None else "https"
        self.url = f"{scheme}://{host}:{self._socket.getsockname()[1]}"
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,  # the process has configured logging
                log_level="warning",  # that it starts and stops is ours to say
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ssl_certfile=tls_cert,
                ssl_keyfile=tls_key,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self, spawn: Callable[..., asyncio.Task[None]]) -> None:
        """Serve as a task that `spawn` makes."""
        self._serving = spawn(self._server.serve(sockets=[self._socket]), "http")

    async def stop(self) -> None:
        """Take no more requests, and return when those under way are answered."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def close(self) -> None:
        """Let the address go, whether or not `stop` had the time to end."""
        self._server.should_exit = True
        self._socket.close()
