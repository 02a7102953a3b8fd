"""A link that the kernel shapes follows the same trace; where the kernel and its owner allow it."""

from __future__ import annotations

import asyncio

import pytest

from slimlinks.trace import Trace
from support.edge.tc_link import tc_link, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

HOLE = Trace("hole", "test", (0.0, 1.0, 3.0), (60_000.0, 0.0, 100_000.0), 100.0)
HOLE_ENDS = 3.0  # seconds
BYTES = 150_000


async def test_the_kernel_carries_what_the_trace_does_and_nothing_in_its_hole() -> None:
    loop = asyncio.get_running_loop()
    arrivals: list[tuple[float, int]] = []
    all_there = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = 0
        while received < BYTES:
            received += len(await reader.read(2**16))
            arrivals.append((loop.time(), received))
        all_there.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        started = loop.time()  # before the link's own clock, which starts a moment later
        async with tc_link(target, HOLE, round_trip_seconds=0.05) as address:
            host, _, port = address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(bytes(BYTES))
            await all_there.wait()
            writer.close()

    # Load only ever delays: not before the trace allows it, apart from a packet for each change.
    for at, received in arrivals:
        assert received <= HOLE.bytes_between(0, at - started) + 6_000
    assert any(received > 30_000 for at, received in arrivals if at - started < HOLE_ENDS)
