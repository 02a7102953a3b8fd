"""Cameras and one slow worker, in simulated time: their controllers, the cloud's queue and
what it grants are the real ones.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
from redis.asyncio import Redis

from slimcloud.store.frames import Store
from slimcloud.store.work_queue import WorkItem
from slimcontrol.controller import Controller, Offer
from slimcontrol.link import LinkView
from support.cloud.frames import EPOCH, START_UNIX_US, make_frame, make_result
from support.edge.controlled import POINTS, SECONDS_PER_PIXEL

FPS = 10
IMAGE_HW = (576, 768)
TRIP_SECONDS = 0.01  # from an edge to the cloud, and back
LOOK_SECONDS = 0.25  # between two looks at what is granted
SETTLED_SECONDS = 15.0
SECONDS = 75.0
Step = Callable[[], Awaitable[None]]


class Timeline:
    """What happens when, in simulated seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._steps: list[tuple[float, int, Step]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, step: Step) -> None:
        heapq.heappush(self._steps, (self.now + seconds, next(self._numbers), step))

    async def run(self, until: float) -> None:
        while self._steps[0][0] <= until:
            self.now, _, step = heapq.heappop(self._steps)
            await step()


@dataclass(eq=False)
class SentFrame:
    size_bytes: int
    captured_at: float
    sent_at: float | None
    behind: bool = False
    received_at: float = 0.0


class Camera:
    """An edge on a fast link, reduced to its controller."""

    def __init__(self, camera_id: str, time: Timeline, worker: Worker) -> None:
        self.camera_id = camera_id
        self.controller = Controller(
            POINTS[1:2], SECONDS_PER_PIXEL, deadline_seconds=1.0, frame_seconds=1 / FPS
        )
        self.controller.on_connected(0.0, 2 * TRIP_SECONDS)
        self.latencies: dict[float, float] = {}  # of results by when they came, seconds
        self._time, self._worker = time, worker
        self._in_flight: list[SentFrame] = []
        self._under_way: dict[int, SentFrame] = {}
        self._received_bytes = 0
        self._sequences = itertools.count(1)

    async def capture(self) -> None:
        self._time.after(1 / FPS, self.capture)
        now, pixels = self._time.now, IMAGE_HW[0] * IMAGE_HW[1]
        in_flight = sum(frame.size_bytes for frame in self._in_flight)
        link = LinkView(in_flight, TRIP_SECONDS, len(self._under_way), 2**16, 2**20)
        decision = self.controller.decide(Offer(now, 0.0, pixels, link))
        if decision.point is None:
            return
        size_bytes = round(decision.point.bpp * pixels / 8)
        frame = SentFrame(size_bytes, now, now, bool(in_flight))
        sequence = next(self._sequences)
        self._in_flight.append(frame)
        self._under_way[sequence] = frame
        self._time.after(TRIP_SECONDS, lambda: self._arrive(sequence, frame))

    async def _arrive(self, sequence: int, frame: SentFrame) -> None:
        frame.received_at = self._time.now
        self._received_bytes += frame.size_bytes
        self._time.after(TRIP_SECONDS, lambda: self._hear(frame, self._received_bytes))
        await self._worker.put(self, sequence)

    async def _hear(self, frame: SentFrame, received_bytes: int) -> None:
        self._in_flight.remove(frame)
        self.controller.on_received(self._time.now, frame, frame.received_at, received_bytes)

    async def hear_result(self, sequence: int) -> None:
        frame = self._under_way.pop(sequence)
        self.latencies[self._time.now] = self._time.now - frame.captured_at
        self.controller.on_detected(frame.received_at, self._time.now - TRIP_SECONDS)


class Worker:
    """A detector that takes `seconds` for each frame of a batch, and a room of two batches."""

    def __init__(self, store: Store, time: Timeline, seconds: float, batch_size: int) -> None:
        self.cameras: dict[str, Camera] = {}
        self._store, self._time = store, time
        self._seconds, self._batch_size = seconds, batch_size
        self._room: list[WorkItem] = []
        self._is_running = False

    async def put(self, camera: Camera, sequence: int) -> None:
        now_us = self._store.clock()
        made = make_frame(
            sequence, camera_id=camera.camera_id, image_hw=IMAGE_HW, received_us=now_us
        )
        await self._store.put_frame(*made)
        await self._take()

    async def look(self) -> None:
        """Tell what is granted, as ingest does."""
        self._time.after(LOOK_SECONDS, self.look)
        weights = await self._store.cameras.weights()
        granted = await self._store.work.granted(weights)
        for camera in self.cameras.values():
            camera.controller.on_share(round(granted * weights.get(camera.camera_id, 1.0)))

    async def _take(self) -> None:
        room = 2 * self._batch_size - len(self._room)
        if room:
            self._room += await self._store.work.take("worker", count=room)
        if self._room and not self._is_running:
            self._is_running = True
            batch, self._room = self._room[: self._batch_size], self._room[self._batch_size :]
            started = self._time.now
            self._time.after(self._seconds * len(batch), lambda: self._end(batch, started))

    async def _end(self, batch: list[WorkItem], started: float) -> None:
        for item in batch:
            record = await self._store.get_frame(item.frame_id)
            waited = started - (record.taken_us - START_UNIX_US) / 1e6
            result = replace(
                make_result(),
                queue_seconds=max(0.0, waited),
                compute_seconds=self._time.now - started,
                batch_size=len(batch),
            )
            await self._store.put_detections(item.frame_id, result)
            camera = self.cameras[item.frame_id.camera_id]
            hear = functools.partial(camera.hear_result, item.frame_id.sequence)
            self._time.after(TRIP_SECONDS, hear)
        self._is_running = False
        await self._take()


@pytest.mark.parametrize(
    ("seconds", "batch_size", "weights"),
    [(0.4, 1, (1, 1, 1)), (0.2, 8, (1, 1, 1)), (0.2, 4, (3, 1, 0.5))],
)
async def test_cameras_have_their_shares_of_a_slow_worker(
    client: Redis, seconds: float, batch_size: int, weights: tuple[float, ...]
) -> None:
    time = Timeline()
    store = Store(client, clock=lambda: START_UNIX_US + round(1e6 * time.now))
    await store.work.prepare()
    worker = Worker(store, time, seconds, batch_size)
    for number, name in enumerate(("gate", "yard", "door")):
        await store.cameras.connect(
            name, epoch=EPOCH, model_name="toy", connection=name, deadline_seconds=1.0
        )
        if weights[number] != 1:
            await store.cameras.set_weight(name, weights[number])
        camera = worker.cameras[name] = Camera(name, time, worker)
        time.after(number + 0.03 * number, camera.capture)
    time.after(LOOK_SECONDS, worker.look)

    await time.run(SECONDS)

    found = [
        [latency for at, latency in camera.latencies.items() if at > SETTLED_SECONDS]
        for camera in worker.cameras.values()
    ]
    counts = [len(latencies) for latencies in found]
    shares = [count / weight for count, weight in zip(counts, weights, strict=True)]
    assert max(shares) <= 1.15 * min(shares), counts
    in_time = sum(latency <= 1.0 for latencies in found for latency in latencies)
    assert in_time >= 0.75 * (SECONDS - SETTLED_SECONDS) / seconds
