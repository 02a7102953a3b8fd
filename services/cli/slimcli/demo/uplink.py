"""A slow uplink on one machine: a TCP relay that lets bytes towards the cloud pass at a set rate.

    edge ──► [rate] ──► cloud
         ◄──────────

Without it a camera on the loopback has gigabits a second, and there is nothing for the controller
to decide. What comes back (acks, detections) is not slowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Self

# Small chunks make a smooth rate; small socket buffers let the sender feel it at once, as a modem
# with a short queue does, in place of the megabytes that the kernel would take.
_CHUNK_BYTES = 2048
_SOCKET_BUFFER_BYTES = 16 * 1024


class SlowUplink:
    """Relays connections to `cloud_address`; bytes towards it pass at `bits_per_second`."""

    def __init__(self, cloud_address: str, bits_per_second: float) -> None:
        host, _, port = cloud_address.rpartition(":")
        self._cloud = (host, int(port))
        self._bytes_per_second = bits_per_second / 8
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._free_at = 0.0  # when the link has passed all that it took; loop's clock, seconds

    @property
    def address(self) -> str:
        """Where the edge connects to."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(
            self._accept, sock=listener, limit=2 * _CHUNK_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, edge: asyncio.StreamReader, to_edge: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                cloud, to_cloud = await asyncio.open_connection(*self._cloud)
                try:
                    await _first_of(self._slowly(edge, to_cloud), _freely(cloud, to_edge))
                finally:
                    to_cloud.close()
        finally:
            to_edge.close()
            self._relays.discard(relay)

    async def _slowly(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await source.read(_CHUNK_BYTES):
            self._free_at = max(self._free_at, loop.time()) + len(chunk) / self._bytes_per_second
            await asyncio.sleep(self._free_at - loop.time())
            sink.write(chunk)
            await sink.drain()


async def _freely(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()


async def _first_of(*directions: Coroutine[None, None, None]) -> None:
    """Run both; when one ends the other is cancelled: half-open streams are of no use here."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
