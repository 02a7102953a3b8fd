"""A gap stands where the frames around it stand: its times go by the cloud's clock."""

from __future__ import annotations

import pytest

from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.gaps import take_gap
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.store.frames import Store
from slimcloud.wall_clock import unix_us
from slimops.metrics import Metrics
from slimwire.v1 import ingest_pb2 as pb

SECOND = 10**6
DAY = 86_400 * SECOND


async def taken(
    store: Store, stream: CameraStream, reason: pb.GapReason = pb.GAP_REASON_DISK
) -> int:
    """Tell a gap that ended a minute ago by the camera's clock, which is four days ahead; where its
    end stands, microseconds from now.
    """
    now_us = unix_us()
    end_us = now_us + 4 * DAY - 60 * SECOND
    gap = pb.Gap(
        gap_number=1, from_time_unix_us=end_us - 30 * SECOND, to_time_unix_us=end_us, reason=reason
    )
    await take_gap(store, stream, gap, IngestMetrics(Metrics("cloud")))
    (record,) = await store.gaps.list(camera_id=stream.camera_id)
    assert record.to_unix_us - record.from_unix_us == 30 * SECOND
    return record.to_unix_us - now_us


async def test_gap_of_a_camera_out_of_step_goes_by_the_clouds_clock(store: Store) -> None:
    stream = CameraStream("gate", 1)
    now_us = unix_us()
    for _ in range(15):
        stream.clock.take(now_us + 4 * DAY, now_us, 0)

    assert await taken(store, stream) == pytest.approx(-60 * SECOND, abs=SECOND)


async def test_gap_told_before_any_frame_does_not_lie_in_the_future(store: Store) -> None:
    assert await taken(store, CameraStream("gate", 1)) == pytest.approx(0, abs=5 * SECOND)


async def test_step_of_the_cameras_clock_is_told_by_that_clock(store: Store) -> None:
    ahead_us = await taken(store, CameraStream("gate", 1), pb.GAP_REASON_CLOCK)

    assert ahead_us == pytest.approx(4 * DAY - 60 * SECOND, abs=SECOND)
