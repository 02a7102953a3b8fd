"""What cameras send is taken a few frames at a time, however many cameras there are."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.intake import MAX_TAKEN, Intake
from slimwire.v1 import ingest_pb2 as pb

CAMERAS = 3 * MAX_TAKEN


class HeldUp(Intake):
    """Takes no frame to its end before it may."""

    async def _take_frame(self, stream: CameraStream, frame: pb.Frame) -> None:
        store = cast("list[str]", self.store)
        store.append(stream.camera_id)
        await cast("asyncio.Event", self.metrics).wait()


async def test_few_frames_are_on_their_way_into_the_store_at_once() -> None:
    begun: list[str] = []
    may_go = asyncio.Event()
    unused = cast("Any", None)
    intake = HeldUp(cast("Any", begun), unused, cast("Any", may_go))
    request = pb.StreamFramesRequest(frame=pb.Frame(sequence=1))

    taking = [
        asyncio.create_task(intake.take(CameraStream(f"camera-{n}", 1), request))
        for n in range(CAMERAS)
    ]
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(begun) == MAX_TAKEN
    may_go.set()
    await asyncio.gather(*taking)
    assert len(begun) == CAMERAS
