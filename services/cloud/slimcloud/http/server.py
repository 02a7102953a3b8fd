"""The web server of the review API and of the probes: uvicorn, on our own socket, without its
signal handlers, and with bounds on what strangers may hold before a token is asked for.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512  # a page holds two: its event stream, and one for everything else
REQUEST_SECONDS = 10.0  # for a request to come, head and body, of 64 KiB at most
MAX_HEAD_BYTES = 2**14  # of the line and the headers of a request
_LISTEN_BACKLOG = 512
_GRACE_SECONDS = 2  # for responses under way at a stop


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _BoundedProtocol(H11Protocol):
    """uvicorn's, which closes idle connections, but takes any number and waits for a request that
    has begun, or never begins, for ever.
    """

    _deadline: asyncio.TimerHandle | None = None  # of the request that comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()
        self._watch_request()

    def data_received(self, data: bytes) -> None:
        # In pieces, for h11 looks at the size of a head only while it waits for the rest of it.
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + MAX_HEAD_BYTES])
        self._watch_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_watch()

    def _make_room(self) -> None:
        """Drop a connection that has not asked yet, so that holding them all shuts nobody out; the
        new one where all have asked.
        """
        others = (c for c in self.connections if isinstance(c, _BoundedProtocol))
        dropped = next((other for other in others if other._deadline is not None), self)
        self.connections.discard(dropped)
        dropped.transport.abort()

    def _watch_request(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._end_watch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _end_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpServer:
    """Binds at once, so that the address is known before the first request.

    Args:
        inherited: file descriptor of a socket that listens already, in place of a new one.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        inherited: int | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        if inherited is None:
            self._socket = socket.create_server((host, port), backlog=_LISTEN_BACKLOG)
        else:
            self._socket = socket.socket(fileno=inherited)
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
                http=_BoundedProtocol,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                ws="none",
                proxy_headers=False,  # `slimcloud.http.behind_proxy` reads them
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
