"""A camera that sees nothing for minutes keeps its stream: both sides' keepalive settings agree.

The settings are the real ones with the pings 30 times as often, so three minutes pass in six
seconds; faster than once a second gRPC does not ping. By hand, with the real ones: 190 s without a
word, a ping each 30 s, and the next frame was detected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
import grpc.aio

from slimcloud.ingest.server import server_options
from slimcloud.settings import CloudSettings
from slimedge.link.connection import CHANNEL_OPTIONS
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc
from support.edge.throttled_proxy import throttled_proxy

HASTE = 30
IDLE_SECONDS = 180 / HASTE
MIN_PING_INTERVAL = "grpc.http2.min_ping_interval_without_data_ms"
INTERVALS = {"grpc.keepalive_time_ms", MIN_PING_INTERVAL}

Options = list[tuple[str, int]]


class EchoingIngest(ingest_pb2_grpc.IngestServiceServicer):
    """Answers a Hello with a Welcome, and is silent until the next."""

    async def StreamFrames(
        self,
        request_iterator: AsyncIterator[pb.StreamFramesRequest],
        context: grpc.aio.ServicerContext[pb.StreamFramesRequest, pb.StreamFramesResponse],
    ) -> AsyncIterator[pb.StreamFramesResponse]:
        async for _ in request_iterator:
            yield pb.StreamFramesResponse(welcome=pb.Welcome(credit_bytes=1))


def hasty(options: Iterable[tuple[str, int]]) -> Options:
    """The same options, with pings `HASTE` times as often."""
    return [(name, value // HASTE if name in INTERVALS else value) for name, value in options]


async def idle(server_side: Options, edge_side: Options) -> tuple[bool, int]:
    """Say something, nothing for the idle time, and something again; whether the stream was still
    there, and the bytes that the edge's transport sent in between.
    """
    server = grpc.aio.server(options=server_side)
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(EchoingIngest(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with (
            throttled_proxy(f"127.0.0.1:{port}", 1e9) as link,
            grpc.aio.insecure_channel(link.address, options=edge_side) as channel,
        ):
            stub = ingest_pb2_grpc.IngestServiceStub(channel)
            uplink = stub.StreamFrames()  # type: ignore[call-arg]  # written to by hand
            hello = pb.StreamFramesRequest(hello=pb.Hello(camera_id="gate"))
            await uplink.write(hello)
            await uplink.read()
            before = link.passed_bytes
            await asyncio.sleep(IDLE_SECONDS)
            pings = link.passed_bytes - before
            try:
                await uplink.write(hello)
                answer = await uplink.read()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return False, pings
            await uplink.done_writing()
            return isinstance(answer, pb.StreamFramesResponse), pings
    finally:
        await server.stop(0)


async def test_stream_survives_three_idle_minutes() -> None:
    cloud, edge = hasty(server_options(CloudSettings())), hasty(CHANNEL_OPTIONS)
    strict = [(name, 300_000 if name == MIN_PING_INTERVAL else value) for name, value in cloud]

    (survived, ping_bytes), (survived_strict, _) = await asyncio.gather(
        idle(cloud, edge), idle(strict, edge)
    )

    assert survived
    assert ping_bytes >= 4 * 17  # one of 17 bytes each 30 s: no NAT on the way may forget us
    # A server that bears pings every 5 minutes only, which is gRPC's own setting, ends the stream.
    assert not survived_strict
