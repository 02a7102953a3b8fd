"""The relay replays a trace exactly: on a clock that jumps, so that seconds are seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from slimlinks.shaping import ShapedLink
from slimlinks.trace import Trace, constant_trace
from support.edge.jumping_loop import run_jumping
from support.edge.throttled_proxy import CuttableLink

CHUNK = 1400  # bytes that pass the link together
EXACT = 1e-3  # seconds; the loop's clock has a grain
STAIRS = Trace("stairs", "test", (0.0, 1.0, 3.0, 5.0), (10_000.0, 0.0, 2_000.0, 40_000.0), 6.0)


class Sink:
    """A server that notes when how much has arrived on a connection, and answers at the end."""

    def __init__(self, answer: bytes = b"") -> None:
        self.arrivals: list[tuple[float, int]] = []  # (seconds since the start, bytes so far)
        self.received = bytearray()
        self.started = 0.0
        self._answer = answer
        self._news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                self.received += chunk
                self.arrivals.append((clock() - self.started, len(self.received)))
                self._news.set()
                writer.write(self._answer)
                await writer.drain()
        writer.close()

    async def holds(self, size_bytes: int) -> None:
        while len(self.received) < size_bytes:
            self._news.clear()
            await self._news.wait()


@contextlib.asynccontextmanager
async def linked(
    sink: Sink, trace: Trace | None, *, round_trip: float = 0.0
) -> AsyncIterator[CuttableLink]:
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    link = CuttableLink(target, trace, round_trip_seconds=round_trip)
    async with server, link:
        sink.started = asyncio.get_running_loop().time()
        yield link


async def connected(link: ShapedLink) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = link.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize("offset", [0.0, 0.4, 2.0, 5.5, 61.0])
def test_bytes_arrive_exactly_when_the_trace_has_carried_them(offset: float) -> None:
    payload = bytes(range(250)) * 400  # more than one round of the trace carries
    sink = Sink()

    async def play() -> int:
        async with linked(sink, STAIRS, round_trip=0.1) as link:
            _, writer = await connected(link)
            await asyncio.sleep(offset)
            writer.write(payload)
            await sink.holds(len(payload))
            writer.close()
            return link.passed_bytes

    passed = run_jumping(play())

    assert bytes(sink.received) == payload
    assert passed == len(payload)
    for seconds, size_bytes in sink.arrivals:
        due = STAIRS.finish(offset, size_bytes) + 0.05
        assert seconds == pytest.approx(due, abs=EXACT)
    assert len(sink.arrivals) > len(payload) / CHUNK / 2  # chunk by chunk, not all at the end


def test_an_idle_link_saves_nothing_up() -> None:
    sink = Sink()

    async def play() -> None:
        async with linked(sink, constant_trace(1000)) as link:
            _, writer = await connected(link)
            for start in (10.0, 20.0):
                await asyncio.sleep(start - link.trace_seconds)
                writer.write(bytes(1000))
                await asyncio.sleep(2)
            writer.close()

    run_jumping(play())

    assert [seconds for seconds, _ in sink.arrivals] == pytest.approx([11, 21], abs=EXACT)


def test_answers_are_delayed_and_not_paced() -> None:
    sink = Sink(answer=bytes(50_000))

    async def play() -> float:
        async with linked(sink, constant_trace(1000), round_trip=0.4) as link:
            reader, writer = await connected(link)
            writer.write(bytes(100))
            await reader.readexactly(50_000)
            writer.close()
            return link.trace_seconds

    seconds = run_jumping(play())

    assert seconds == pytest.approx(0.1 + 0.4, abs=EXACT)


def test_connections_share_one_link() -> None:
    sink = Sink()

    async def play() -> float:
        async with linked(sink, constant_trace(1000)) as link:
            both = [await connected(link) for _ in range(2)]
            for _, writer in both:
                writer.write(bytes(5_000))
            await sink.holds(10_000)
            for _, writer in both:
                writer.close()
            assert link.connections == 2
            return sink.arrivals[-1][0]

    assert run_jumping(play()) == pytest.approx(10.0, abs=EXACT)


def test_a_hole_carries_nothing_and_ends_on_time() -> None:
    sink = Sink()

    async def play() -> tuple[float, float]:
        async with linked(sink, STAIRS) as link:
            _, writer = await connected(link)
            await asyncio.sleep(1.5)
            in_hole = link.bytes_per_second
            writer.write(bytes(CHUNK))
            await sink.holds(CHUNK)
            after = link.bytes_per_second
            writer.close()
            return in_hole, after

    assert run_jumping(play()) == (0.0, 2_000.0)
    assert sink.arrivals[0][0] == pytest.approx(3.0 + CHUNK / 2_000, abs=EXACT)


def test_without_a_trace_bytes_are_only_delayed() -> None:
    sink = Sink()

    async def play() -> float:
        async with linked(sink, None, round_trip=0.2) as link:
            _, writer = await connected(link)
            writer.write(bytes(10**6))
            await sink.holds(10**6)
            writer.close()
            return link.bytes_per_second

    assert run_jumping(play()) == float("inf")
    assert sink.arrivals[-1][0] == pytest.approx(0.1, abs=EXACT)


def test_the_end_of_a_connection_comes_after_its_last_byte() -> None:
    sink = Sink()

    async def play() -> None:
        async with linked(sink, constant_trace(1000), round_trip=0.1) as link:
            reader, writer = await connected(link)
            writer.write(bytes(3_000))
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

    run_jumping(play())

    assert len(sink.received) == 3_000


def test_a_server_that_is_away_closes_the_connection() -> None:
    async def play() -> bytes:
        async with linked(Sink(), None) as link:
            link_to_nowhere = ShapedLink("127.0.0.1:1", constant_trace(1000))
            async with link_to_nowhere:
                reader, writer = await connected(link_to_nowhere)
                answer = await reader.read()
                writer.close()
            return answer + bytes(link.connections)

    assert run_jumping(play()) == b""


def test_a_cut_resets_what_is_open_and_takes_new_connections() -> None:
    sink = Sink()

    async def play() -> int:
        async with linked(sink, constant_trace(1e6)) as link:
            reader, writer = await connected(link)
            writer.write(b"before")
            await sink.holds(6)
            link.cut()
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            _, again = await connected(link)
            again.write(b"after!")
            await sink.holds(12)
            for each in (writer, again):
                each.close()
            return link.connections

    assert run_jumping(play()) == 2
    assert bytes(sink.received) == b"beforeafter!"
