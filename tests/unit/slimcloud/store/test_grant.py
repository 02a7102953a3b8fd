"""What each camera is granted of the detectors' time, from what results took."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from slimcloud.store.frames import Store
from support.cloud.frames import EPOCH, START_UNIX_US, make_frame, make_result

DEADLINE_SECONDS = 1.0
WORK_SECONDS = 0.1  # of the detector for each frame
IMAGE_HW = (500, 1000)
WORKER = 5_000_000  # pixels per second


@dataclass(eq=False)
class Cloud:
    """A store at a time that the test sets; results that took as long as it says."""

    client: Redis
    now: float = 100.0  # seconds
    sequences: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.store = Store(self.client, clock=self._clock_us)

    def _clock_us(self) -> int:
        return START_UNIX_US + round(1e6 * self.now)

    async def connect(self, camera_id: str, deadline_seconds: float | None) -> None:
        await self.store.work.prepare()
        await self.store.cameras.connect(
            camera_id,
            epoch=EPOCH,
            model_name="toy",
            connection="",
            deadline_seconds=deadline_seconds,
        )

    async def detect(
        self, waited: float, *, camera_id: str = "gate", lane: str = "live", batch_size: int = 1
    ) -> int:
        """Have a result now of a frame that came so long ago; what is granted then."""
        made = make_frame(next(self.sequences), camera_id=camera_id, image_hw=IMAGE_HW, lane=lane)
        await self.store.put_frame(*made)
        compute = WORK_SECONDS * batch_size
        result = replace(
            make_result(),
            queue_seconds=waited - compute,
            compute_seconds=compute,
            batch_size=batch_size,
        )
        await self.store.put_detections(made.frame_id, result)
        return await self.store.work.granted()


@pytest.fixture
async def cloud(client: Redis) -> Cloud:
    cloud = Cloud(client)
    await cloud.connect("gate", DEADLINE_SECONDS)
    return cloud


async def test_while_results_are_in_time_every_camera_sends_what_it_likes(cloud: Cloud) -> None:
    assert [await cloud.detect(0.45) for _ in range(3)] == [0, 0, 0]


async def test_a_late_result_grants_at_first_less_than_what_one_detector_does(
    cloud: Cloud,
) -> None:
    assert await cloud.detect(0.55) == pytest.approx(WORKER * 0.5 / 0.55, rel=0.001)
    cloud.now += 1
    assert await cloud.detect(0.9) == pytest.approx(WORKER * 0.5 / 0.55 * 0.7, rel=0.001)


async def test_the_time_of_a_whole_batch_is_that_of_its_frames_together(cloud: Cloud) -> None:
    assert await cloud.detect(0.9, batch_size=8) == pytest.approx(0.7 * WORKER, rel=0.001)


async def test_only_a_frame_that_came_after_a_cut_says_what_came_of_it(cloud: Cloud) -> None:
    granted = await cloud.detect(5.0)
    cloud.now += 1

    assert await cloud.detect(5.0) == granted
    assert await cloud.detect(1.1) == granted
    assert await cloud.detect(0.9) < granted


async def test_results_in_time_grant_more_until_nobody_could_use_it(cloud: Cloud) -> None:
    granted = [await cloud.detect(0.9)]
    for _ in range(60):
        cloud.now += 1
        granted.append(await cloud.detect(0.2))

    assert granted[1] == pytest.approx(1.2 * granted[0], rel=0.001)
    assert all(b > a for a, b in itertools.pairwise(granted) if b)
    assert granted[-1] == 0


async def test_whoever_keeps_to_it_has_half_of_an_equal_share_of_one_detector(
    cloud: Cloud,
) -> None:
    await cloud.connect("greedy", DEADLINE_SECONDS)
    for _ in range(10):
        cloud.now += 5
        await cloud.detect(4.0, camera_id="greedy")
        granted = await cloud.detect(4.0)
    assert granted == pytest.approx(WORKER / 2 / 2, rel=0.001)

    cloud.now += 20  # the other one has left
    assert await cloud.detect(4.0) == pytest.approx(WORKER / 2, rel=0.001)


async def test_what_nobody_waits_for_says_nothing(cloud: Cloud) -> None:
    await cloud.connect("patient", None)

    assert await cloud.detect(9.0, lane="backfill") == 0
    assert await cloud.detect(9.0, camera_id="patient") == 0
