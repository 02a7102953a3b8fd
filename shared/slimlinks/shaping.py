"""A link that replays a trace between two programs on one machine: a TCP relay, no privileges.

    edge ──► [trace] ──► half the round trip ──► cloud
         ◄────────────── half the round trip ◄──

A byte towards the server leaves the link when the trace has carried it and all bytes before it,
those of other connections included: the same arithmetic as the simulator's. What comes back is
only delayed. The relay holds about 17 kB that wait for the link and pushes back on what is more, so
that the sender sees the link and not a buffer. It carries bytes, not packets: there is no loss, and
a connection's own opening handshake is with the relay.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Coroutine
from dataclasses import KW_ONLY, dataclass
from typing import Self

from slimlinks.trace import Trace

_CHUNK_BYTES = 1400  # about a packet: pacing stays smooth
_WAITING_CHUNKS = 12  # for the link: enough to keep it busy while the event loop is late
_SOCKET_BUFFER_BYTES = 16 * 2**10  # of the kernel, towards the sender
_FREE_CHUNK_BYTES = 2**16  # where nothing is paced
_MOST_ON_THE_WAY = 4096  # chunks within half a round trip


@dataclass(eq=False)
class ShapedLink:
    """Connections to `address` are passed on to a server over one link; use it as a context."""

    target: str  # the server, host:port
    trace: Trace | None  # of the bytes towards the server; None: they are only delayed
    _: KW_ONLY
    round_trip_seconds: float = 0.0  # half of it is added in each direction

    def __post_init__(self) -> None:
        host, _, port = self.target.rpartition(":")
        self._target = (host, int(port))
        self._delay = self.round_trip_seconds / 2
        self._started = 0.0  # the loop's clock at the trace's beginning, seconds
        self._free_at = 0.0  # the loop's clock when all bytes taken so far have left the link
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self.passed_bytes = 0  # towards the server

    @property
    def address(self) -> str:
        """Where to connect to instead of the server, host:port."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    @property
    def trace_seconds(self) -> float:
        """Where the trace is now; it repeats after its end, this goes on."""
        return asyncio.get_running_loop().time() - self._started

    @property
    def bytes_per_second(self) -> float:
        """What the link carries now, infinity without a trace."""
        return float("inf") if self.trace is None else self.trace.rate_at(self.trace_seconds)

    async def __aenter__(self) -> Self:
        listener = self._listen()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        # asyncio sets it only on sockets that name their protocol; without it a small answer waits
        # up to 40 ms for the edge's delayed acknowledgement. Accepted sockets inherit both.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._started = asyncio.get_running_loop().time()
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_CHUNK_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _listen(self) -> socket.socket:
        """Where the sender is taken in; elsewhere for a subclass."""
        return socket.create_server(("127.0.0.1", 0))

    async def _accept(self, edge: asyncio.StreamReader, to_edge: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                cloud, to_cloud = await asyncio.open_connection(*self._target)
                with contextlib.closing(to_cloud):
                    await _first_of(
                        self._carry(edge, to_cloud, paced=self.trace is not None),
                        self._carry(cloud, to_edge, paced=False),
                    )
        finally:
            to_edge.close()
            self._relays.discard(relay)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, paced: bool
    ) -> None:
        """Pass one direction of one connection on, to its end."""
        clock = asyncio.get_running_loop().time
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_ON_THE_WAY)

        async def take() -> None:
            waiting: deque[float] = deque(maxlen=_WAITING_CHUNKS)  # when each leaves the link
            while chunk := await source.read(_CHUNK_BYTES if paced else _FREE_CHUNK_BYTES):
                leaves = self._leave(clock(), len(chunk)) if paced else clock()
                await on_the_way.put((leaves + self._delay, chunk))
                waiting.append(leaves)
                if len(waiting) == _WAITING_CHUNKS:
                    await asyncio.sleep(waiting[0] - clock())
            await on_the_way.put((clock() + self._delay, b""))

        async def give() -> None:
            while True:
                due, chunk = await on_the_way.get()
                await asyncio.sleep(due - clock())
                if not chunk:
                    return
                if paced:
                    self.passed_bytes += len(chunk)
                sink.write(chunk)
                await sink.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())

    def _leave(self, now: float, size_bytes: int) -> float:
        """When these bytes, taken now, have left the link; on the loop's clock."""
        assert self.trace is not None
        start = max(now, self._free_at) - self._started
        self._free_at = self._started + self.trace.finish(start, size_bytes)
        return self._free_at


async def _first_of(*directions: Coroutine[None, None, None]) -> None:
    """Run both; when one ends the other is cancelled: half-open connections are of no use here."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
