from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from slimcloud.detect.engine import EngineJob, EngineResult, Judgement, TriageVerdict
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store import keys
from slimcloud.store.cameras.refetches import RefetchRequest
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, StoredFrame, Triage
from slimcloud.store.work_queue import WorkItem, WorkQueue
from slimcodec.errors import DamagedContainerError
from slimops.metrics import Metrics
from support.cloud.frames import START_UNIX_US, make_frame, make_result


class FakeEngine:
    """Finds a car in every container but the damaged, and fails on any batch with poison."""

    codec_label = "toy/1"
    detector_label = "toy-detector/1"
    min_score = 0.25
    enhance_level: int | None = None

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.jobs: list[EngineJob] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()  # while it is not set a batch does not end
        self.gate.set()

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw

    def kept(self, frame_id: FrameId) -> None:
        return None

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        containers = [job.base for job in jobs]
        self.batches.append(containers)
        self.jobs += jobs
        self.entered.set()
        await self.gate.wait()
        if b"poison" in containers:
            raise RuntimeError("the graph failed")
        return [self._judged(job) or self._result(job.base) for job in jobs]

    def _judged(self, job: EngineJob) -> EngineResult | None:
        if self.enhance_level is None or not job.triage:
            return None
        verdict = TriageVerdict.QUIET if job.base == b"quiet" else TriageVerdict.ENHANCE
        return EngineResult((), None, 0.1, Judgement(verdict, 0.25, self.enhance_level))

    def _result(self, container: bytes) -> EngineResult:
        if container == b"damaged":
            return EngineResult((), DamagedContainerError("no such symbol"), 0.1)
        return EngineResult(make_result(("car", 0.5)).detections, None, 0.1)


class WatchedQueue(WorkQueue):
    """Notes how many entries each `take` gave."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.taken: list[int] = []
        self._prepared = 0

    async def take(
        self, consumer: str, *, count: int, backfill_count: int | None = None
    ) -> list[WorkItem]:
        self._prepared = sum(self.taken)  # what was taken before waits for its batch by now
        items = await super().take(consumer, count=count, backfill_count=backfill_count)
        self.taken.append(len(items))
        return items

    async def until_prepared(self, frames: int) -> None:
        """Return when so many frames were taken and wait for a batch, or have left with one."""
        while self._prepared < frames:
            await asyncio.sleep(0)


@pytest.fixture
def queue(store: Store, client: Redis) -> WatchedQueue:
    store.work = queue = WatchedQueue(client)
    return queue


def _worker(
    store: Store,
    engine: FakeEngine,
    *,
    clock: Callable[[], int] = lambda: START_UNIX_US + 10**6,
    metrics: Metrics | None = None,
    **overrides: object,
) -> DetectWorker:
    values: dict[str, object] = {"reclaim_idle_seconds": 0.2, "max_batch_size": 4, **overrides}
    settings = CloudSettings.model_validate(values)
    store.clock = clock
    return DetectWorker(store, engine, settings, DetectMetrics(metrics or Metrics("cloud")))


@asynccontextmanager
async def _running(worker: DetectWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(worker.serve_batches())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcomes(store: Store, *sequences: int) -> list[StoredFrame]:
    """The frames, once each has an outcome; the test's own time limit is the deadline."""
    after = "0-0"
    while True:
        records = [await store.get_frame(make_frame(sequence).frame_id) for sequence in sequences]
        if all(record.state is not FrameState.QUEUED for record in records):
            return records
        for event in await store.feed.read(after, block_seconds=0.05):
            after = event.entry_id


async def test_frames_are_detected_in_batches_and_taken_off_the_queue(store: Store) -> None:
    engine = FakeEngine()
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence, container=b"frame-%d" % sequence))

    async with _running(_worker(store, engine, max_queue_delay_seconds=0.05)):
        records = await _outcomes(store, 1, 2, 3)
        while await store.work.outstanding():
            await asyncio.sleep(0)

    assert {record.state for record in records} == {FrameState.DETECTED}
    assert engine.batches == [[b"frame-1", b"frame-2", b"frame-3"]]
    result = await store.get_detections(records[0].frame_id)
    assert result is not None
    assert result.batch_size == 3
    assert [found.label for found in result.detections] == ["car"]
    assert result.queue_seconds == pytest.approx(1 - 0.0015)


async def test_no_more_than_a_batch_is_taken_from_other_workers_at_once(
    store: Store, queue: WatchedQueue
) -> None:
    for sequence in range(1, 9):
        await store.put_frame(*make_frame(sequence))

    async with _running(_worker(store, FakeEngine())):
        await _outcomes(store, *range(1, 9))

    assert [count for count in queue.taken if count] == [4, 4]


async def test_damaged_frame_fails_with_its_reason_and_spares_its_batch(store: Store) -> None:
    await store.put_frame(*make_frame(1, container=b"damaged"))
    await store.put_frame(*make_frame(2))

    async with _running(_worker(store, FakeEngine())):
        bad, good = await _outcomes(store, 1, 2)

    assert (bad.state, bad.reason) == (FrameState.FAILED, "no such symbol")
    assert good.state is FrameState.DETECTED


async def test_expired_frame_is_dropped_with_a_reason(store: Store) -> None:
    engine = FakeEngine()
    await store.put_frame(*make_frame(1, expires_us=START_UNIX_US + 1))

    async with _running(_worker(store, engine)):
        (record,) = await _outcomes(store, 1)

    assert record.state is FrameState.DROPPED
    assert "deadline" in record.reason
    assert engine.batches == []


async def test_frame_that_expires_while_it_waits_for_its_batch_is_dropped(
    store: Store, queue: WatchedQueue
) -> None:
    engine, now_us = FakeEngine(), START_UNIX_US
    await store.put_frame(*make_frame(1, container=b"first"))
    await store.put_frame(*make_frame(2, container=b"late", expires_us=START_UNIX_US + 1))
    worker = _worker(store, engine, max_batch_size=1, clock=lambda: now_us)
    engine.gate.clear()

    async with _running(worker):
        await engine.entered.wait()
        await queue.until_prepared(2)
        now_us += 2
        engine.gate.set()
        _, late = await _outcomes(store, 1, 2)

    assert late.state is FrameState.DROPPED
    assert "deadline" in late.reason
    assert engine.batches == [[b"first"]]


async def test_frame_that_is_cancelled_while_it_waits_for_its_batch_is_not_detected(
    store: Store, queue: WatchedQueue
) -> None:
    engine = FakeEngine()
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence, container=b"frame-%d" % sequence))
    worker = _worker(store, engine, max_batch_size=1)
    engine.gate.clear()

    async with _running(worker):
        await engine.entered.wait()
        await queue.until_prepared(2)
        await store.set_dropped(make_frame(2).frame_id, "nobody wants it")
        engine.gate.set()
        await _outcomes(store, 1)
        await worker.drain()

    assert engine.batches == [[b"frame-1"]]
    assert await store.work.outstanding() == 0


async def test_live_frames_pass_backfill_that_waits_in_the_worker(
    store: Store, queue: WatchedQueue
) -> None:
    engine = FakeEngine()
    for sequence in range(1, 9):
        container = b"late-%d" % sequence
        await store.put_frame(*make_frame(sequence, container=container, lane="backfill"))
    worker = _worker(store, engine, max_batch_size=2)
    engine.gate.clear()

    async with _running(worker):
        await engine.entered.wait()
        await queue.until_prepared(4)
        await store.put_frame(*make_frame(9, container=b"live"))
        await queue.until_prepared(5)
        engine.gate.set()
        await _outcomes(store, *range(1, 10))

    assert engine.batches[0] == [b"late-1", b"late-2"]
    assert engine.batches[1] == [b"live", b"late-3"]


async def test_frame_whose_time_is_over_is_taken_off_the_queue(store: Store, client: Redis) -> None:
    engine = FakeEngine()
    worker = _worker(store, engine)
    await store.put_frame(*make_frame(1))
    await client.delete(f"{keys.FRAME}{make_frame(1).frame_id}")  # as its own end would
    assert await store.work.outstanding() == 1

    async with _running(worker):
        while await store.work.outstanding():
            await asyncio.sleep(0)
        await worker.drain()

    assert engine.batches == []


async def test_work_of_a_dead_worker_is_done_by_another(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence))
    taken = await store.work.take("killed-worker", count=2)
    assert len(taken) == 2

    async with _running(_worker(store, FakeEngine())):
        records = await _outcomes(store, 1, 2, 3)

    assert {record.state for record in records} == {FrameState.DETECTED}


async def test_poison_goes_to_the_dead_letters_after_its_deliveries(store: Store) -> None:
    engine = FakeEngine()
    await store.put_frame(*make_frame(1, container=b"poison"))
    await store.put_frame(*make_frame(2))
    await store.put_frame(*make_frame(3))

    async with _running(_worker(store, engine, max_deliveries=3)):
        poison, *others = await _outcomes(store, 1, 2, 3)
        while await store.work.outstanding():
            await asyncio.sleep(0)

    assert poison.state is FrameState.FAILED
    assert "3 deliveries" in poison.reason
    assert {record.state for record in others} == {FrameState.DETECTED}
    (letter,) = await store.work.dead_letters()
    assert letter.frame_id == make_frame(1).frame_id
    assert letter.reason == poison.reason
    assert "RuntimeError: the graph failed" in letter.reason
    assert engine.batches.count([b"poison"]) == 3


async def test_what_waits_and_what_was_given_up_are_in_the_metrics(store: Store) -> None:
    engine, metrics = FakeEngine(), Metrics("cloud")
    await store.put_frame(*make_frame(1))
    (item,) = await store.work.take("another", count=1)
    await store.work.dead_letter(item)
    for sequence, lane in ((2, "live"), (3, "live"), (4, "backfill")):
        await store.put_frame(*make_frame(sequence, lane=lane))
    wanted = {
        b"slim_cloud_work_frames 2.0",
        b"slim_cloud_backfill_frames 1.0",
        b"slim_cloud_dead_letters 1.0",
    }
    engine.gate.clear()

    async with _running(_worker(store, engine, metrics=metrics)):
        while not wanted <= set(metrics.exposition().splitlines()):
            await asyncio.sleep(0.02)
        engine.gate.set()


async def test_drain_ends_what_was_taken_and_forgets_the_consumer(
    store: Store, client: Redis, queue: WatchedQueue
) -> None:
    worker = _worker(store, FakeEngine(), max_queue_delay_seconds=0.2)
    await store.put_frame(*make_frame(1))
    run = asyncio.create_task(worker.run())
    serve = asyncio.create_task(worker.serve_batches())
    while not sum(queue.taken):
        await asyncio.sleep(0)

    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await worker.drain()
    serve.cancel()
    await asyncio.gather(serve, return_exceptions=True)

    assert (await store.get_frame(make_frame(1).frame_id)).state is FrameState.DETECTED
    assert await store.work.outstanding() == 0
    assert await client.xinfo_consumers(keys.WORK, keys.DETECT_GROUP) == []


def _triaging_engine() -> FakeEngine:
    engine = FakeEngine()
    engine.enhance_level = 2
    return engine


async def test_quiet_frame_has_its_outcome_without_detections(store: Store) -> None:
    await store.put_frame(*make_frame(1, container=b"quiet"))

    async with _running(_worker(store, _triaging_engine())):
        (record,) = await _outcomes(store, 1)

    assert (record.state, record.triage) == (FrameState.DETECTED, Triage.QUIET)
    assert record.presence == 0.25
    assert record.label_scores == {}


async def test_frame_is_detected_with_its_enhancement_once_that_is_there(client: Redis) -> None:
    store = Store(client, clock=lambda: START_UNIX_US + 10**6)  # the worker's own
    await store.work.prepare()
    engine = _triaging_engine()
    await store.put_frame(*make_frame(1, container=b"busy"))

    async with _running(_worker(store, engine, triage_wait_seconds=60.0)):
        told: list[RefetchRequest] = []
        while not told:
            told = await store.refetches.take("gate", make_frame(1).frame_id.epoch)
        (asked,) = told
        await store.put_enhancement(asked.frame_id, b"more", asked.request_id, level=asked.level)
        (record,) = await _outcomes(store, 1)

    assert asked.level == 2
    assert record.triage is Triage.ENHANCED
    assert engine.jobs == [
        EngineJob(b"busy", None, asked.frame_id),
        EngineJob(b"busy", b"more", asked.frame_id, triage=False),
    ]
    assert record.label_scores == {"car": 0.5}


async def test_worker_that_dies_with_a_woken_frame_loses_nothing(store: Store) -> None:
    engine = _triaging_engine()
    await store.put_frame(*make_frame(1, container=b"busy"))
    (item,) = await store.work.take("killed-worker", count=1)
    await store.work.park(item, presence=0.5, level=2, until_us=1)
    assert await store.work.wake_overdue(2) == 1
    await store.work.take("killed-too", count=1)

    async with _running(_worker(store, engine)):
        (record,) = await _outcomes(store, 1)

    assert (record.triage, record.presence) == (Triage.FALLBACK, 0.5)
    assert engine.jobs == [EngineJob(b"busy", None, make_frame(1).frame_id, triage=False)]


async def test_frame_is_detected_as_sent_when_too_many_wait(client: Redis) -> None:
    store = Store(client, max_queue_size=1)
    await store.work.prepare()
    await store.put_frame(*make_frame(1, container=b"first"))
    async with _running(_worker(store, _triaging_engine(), triage_wait_seconds=60.0)):
        while not await store.work.parked_count():
            await asyncio.sleep(0)
        await store.put_frame(*make_frame(2, container=b"second"))

        (record,) = await _outcomes(store, 2)

    assert record.triage is Triage.FALLBACK
    assert record.label_scores == {"car": 0.5}


async def test_frame_that_an_older_ingest_queues_meanwhile_is_detected(
    store: Store, client: Redis
) -> None:
    async with _running(_worker(store, FakeEngine(), reclaim_idle_seconds=0.1)):
        made = make_frame(1)
        words = [*made.record.written(), "container", b"c", "work", f"{keys.WORK} 1-1"]
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.hset(f"{keys.FRAME}{made.frame_id}", items=words)
            pipeline.xadd(keys.WORK, {"frame_id": str(made.frame_id)}, id="1-1")
            await pipeline.execute()

        (record,) = await _outcomes(store, 1)

    assert record.state is FrameState.DETECTED
