"""A TCP proxy that lets bytes towards the server through at a fixed rate; a slow link on loopback.

Answers pass at once. The rate can be changed while it runs; 0 is a link that carries nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

_CHUNK_BYTES = 1400  # about a packet: pacing stays smooth
_BUFFER_BYTES = 16 * 2**10  # of the kernel, so that the proxy itself hides little


class ThrottledProxy:
    """Connections accepted at `address` are passed on to a target; made by `throttled_proxy`."""

    def __init__(self, target: str, bytes_per_second: float) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._rate = bytes_per_second
        self._rate_changed = asyncio.Event()
        self._link_free_at = 0.0  # loop time at which the link has sent what it was given
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""
        self.connections = 0
        self.passed_bytes = 0  # towards the server

    def set_rate(self, bytes_per_second: float) -> None:
        """Change the rate for what comes next."""
        self._rate = bytes_per_second
        self._rate_changed.set()

    def cut(self) -> None:
        """Reset every connection, as a lost link does; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        up = asyncio.create_task(self._pump(reader, server_writer, throttled=True))
        down = asyncio.create_task(self._pump(server_reader, writer, throttled=False))
        pumps = {up, down}
        self._tasks |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, server_writer):
                end.transport.abort()
            self._writers -= {writer, server_writer}
            self._tasks -= pumps

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, throttled: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if throttled:
                    await self._wait_for_link(len(chunk))
                    self.passed_bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()

    async def _wait_for_link(self, size_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        while self._rate <= 0:
            self._rate_changed.clear()
            await self._rate_changed.wait()
        self._link_free_at = max(self._link_free_at, loop.time()) + size_bytes / self._rate
        await asyncio.sleep(self._link_free_at - loop.time())


@contextlib.asynccontextmanager
async def throttled_proxy(target: str, bytes_per_second: float) -> AsyncIterator[ThrottledProxy]:
    """Run a proxy in front of `target` (host:port) for the length of the block."""
    proxy = ThrottledProxy(target, bytes_per_second)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    server = await asyncio.start_server(proxy.accept, sock=listener, limit=_BUFFER_BYTES)
    proxy.address = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        proxy.set_rate(1e9)
        await server.wait_closed()
        while proxy._tasks:
            await asyncio.wait(proxy._tasks)
