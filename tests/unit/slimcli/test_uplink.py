"""The simulated uplink passes every byte, and slowly one way only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from slimcli.demo.uplink import SlowUplink

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def exchange(handler: Handler, sent: bytes, bits_per_second: float) -> tuple[bytes, float]:
    """What comes back through the uplink, and after how many seconds."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, SlowUplink(f"127.0.0.1:{port}", bits_per_second) as slow:
        host, _, slow_port = slow.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(slow_port))
        started = asyncio.get_running_loop().time()
        writer.write(sent)
        answer = await reader.read()
        seconds = asyncio.get_running_loop().time() - started
        writer.close()
        await writer.wait_closed()
    return answer, seconds


async def _count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    expected = int.from_bytes(await reader.readexactly(4), "big")
    received = await reader.readexactly(expected)
    writer.write(received)
    await writer.drain()
    writer.close()


async def test_every_byte_passes_no_faster_than_the_rate() -> None:
    payload = bytes(range(256)) * 100
    message = len(payload).to_bytes(4, "big") + payload

    answer, seconds = await exchange(_count, message, bits_per_second=8 * 100_000)

    assert answer == payload
    assert seconds >= 0.99 * len(message) / 100_000  # a lower bound: load can only add to it


async def test_a_cloud_that_is_away_closes_the_connection() -> None:
    server = await asyncio.start_server(_count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    async with SlowUplink(f"127.0.0.1:{port}", 1e6) as slow:
        host, _, slow_port = slow.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(slow_port))
        answer = await reader.read()
        writer.close()

    assert answer == b""
