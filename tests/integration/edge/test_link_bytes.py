"""What a stream's own socket carried, among others of one process to one cloud."""

from __future__ import annotations

import asyncio

from slimedge.link.connection import connect
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from support.edge.fake_cloud import FakeCloud


async def test_streams_that_are_made_at_once_have_their_own_sockets_counted() -> None:
    async with FakeCloud() as cloud:
        settings = EdgeSettings(source="a.mp4", cloud_address=cloud.address)
        met = asyncio.Barrier(2)

        async def sent_bytes(camera: str, size: int) -> int:
            hello = pb.Hello(camera_id=camera, model_fingerprint=cloud.fingerprint)
            async with connect(settings, pb.StreamFramesRequest(hello=hello)) as connection:
                await met.wait()
                frame = pb.Frame(sequence=1, container=bytes(size))
                await connection.write(pb.StreamFramesRequest(frame=frame))
                await connection.read()  # the credit, unasked
                await connection.read()  # the frame's first Ack, so it has passed
                assert connection.socket is not None
                return connection.socket.read().sent_bytes

        one, other = await asyncio.gather(sent_bytes("one", 20_000), sent_bytes("other", 40_000))

    assert 20_000 < one < 25_000
    assert 40_000 < other < 47_000
