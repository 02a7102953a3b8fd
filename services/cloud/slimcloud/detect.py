"""Stage 9 of 12: work queue -> detections. Any number of workers share one queue.

    slim:work ─ take, reclaim ─► container ─► batcher ─► engine ─► put_detections, entry done
      ▲             │                │ expired,   │          │ bad bytes ─► failed
      │             │                │ cancelled ─┴► dropped │ crash ─► stays, is reclaimed
      │             └ 5 deliveries ─► dead letter, failed    │ triage: quiet ─► no detections, done
      └── slim:awaiting ◄── park, ask the camera ────────────┘ triage: enhancement wanted

An entry leaves the queue in the step that stores its outcome, so a worker that dies loses nothing:
another reclaims its entries. A frame that is detected twice gives the same result, and only the
first is kept. First in, first out per camera and lane; the newest are not preferred. A frame that
waits for its enhancement is answered after quiet ones that came later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from redis.exceptions import RedisError

from slimcloud.awaiting import Parked
from slimcloud.batcher import Batcher
from slimcloud.detect_metrics import DetectMetrics
from slimcloud.engine import EngineJob, EngineResult
from slimcloud.expiry import expired_reason
from slimcloud.records import DetectionResult, FrameRecord, FrameState, Triage
from slimcloud.settings import CloudSettings
from slimcloud.store import Store, unix_us
from slimcloud.triage import Verdict
from slimcloud.work import Lane, WorkItem
from slimops.tracing import record_span

__all__ = ["DetectWorker", "Engine"]

logger = logging.getLogger(__name__)

_BLOCK_SECONDS: Final = 1.0
_BUSY_BLOCK_SECONDS: Final = 0.05  # while backfill is left waiting in favour of what is live
_RETRY_SECONDS: Final = 0.5
_WAKE_SECONDS: Final = 0.1  # how late a frame may be woken whose enhancement did not come


class Engine(Protocol):
    """The part of `slimcloud.engine.DetectionEngine` that is needed here."""

    codec_label: str
    detector_label: str
    min_score: float
    enhance_level: int | None

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]: ...

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]: ...


@dataclass(frozen=True, slots=True)
class _Job:
    work: WorkItem
    record: FrameRecord
    containers: EngineJob


class DetectWorker:
    """One consumer of the work queue; `run` and `serve_batches` run side by side."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        settings: CloudSettings,
        metrics: DetectMetrics,
        *,
        clock_unix_us: Callable[[], int] = unix_us,
    ) -> None:
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._store = store
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._clock_unix_us = clock_unix_us
        # entries between taking and outcome
        self._held: dict[tuple[Lane, str], asyncio.Event] = {}
        self._taking: asyncio.Future[bool] | None = None
        self._batcher: Batcher[_Job] = Batcher(
            self._run_batch,
            key=lambda job: (
                engine.latent_hw(job.record.image_hw),
                job.work.entry_id if job.work.deliveries > 1 else "",
            ),
            order=lambda job: (job.record.frame_id.camera_id, job.work.lane),
            priority=lambda job: job.work.lane.rank,
            max_batch_size=settings.max_batch_size,
            max_queue_delay_seconds=settings.max_queue_delay_seconds,
            max_queue_size=2 * settings.max_batch_size,
        )

    async def run(self) -> None:
        """Take work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fetch())
            tasks.create_task(self._reclaim())
            tasks.create_task(self._wake())

    async def serve_batches(self) -> None:
        """Detect what was taken, until cancelled; runs beside `run` and outlives it."""
        await self._batcher.serve()

    async def drain(self) -> None:
        """Return when all that was taken has its outcome; `run` is cancelled before."""
        if self._taking is not None:
            await asyncio.gather(self._taking, return_exceptions=True)
        await self._batcher.drained()
        await self._store.work.retire(self.consumer)

    @property
    def idle(self) -> bool:
        """Whether nothing is held: taken and without its outcome."""
        return not self._held

    @property
    def waiting(self) -> int:
        """How many frames wait for a batch."""
        return self._batcher.waiting

    # --- taking work ---

    async def _fetch(self) -> None:
        while True:
            await self._batcher.wait_for_space()
            # Half of the waiting room is kept from backfill: what is live finds a place at once.
            backfill_count = max(0, self._batcher.free - self._settings.max_batch_size)
            try:
                # What was taken is seen through: a stop ends the taking only.
                self._taking = asyncio.ensure_future(self._take(backfill_count))
                if not await asyncio.shield(self._taking):
                    await self._store.work.wait(
                        _BLOCK_SECONDS if backfill_count else _BUSY_BLOCK_SECONDS
                    )
            except RedisError as exc:
                logger.warning("the work queue does not answer: %s", exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, backfill_count: int) -> bool:
        """Take what there is room for, one at least and a batch at most: a worker beside this one
        may have nothing to do. False when there is nothing.
        """
        count = max(1, min(self._batcher.free, self._settings.max_batch_size))
        items = await self._store.work.take(
            self.consumer, count=count, backfill_count=backfill_count
        )
        await self._prepare(items)
        return bool(items)

    async def _reclaim(self) -> None:
        """Take over what silent workers left, now and then.

        One entry at a time, and it runs alone: an entry that kills its worker must not count as a
        delivery of any other.
        """
        while True:
            try:
                while await self._reclaim_one():
                    pass
            except RedisError as exc:
                logger.warning("the work queue does not answer: %s", exc)
            await asyncio.sleep(self._settings.reclaim_idle_seconds / 3)

    async def _reclaim_one(self) -> bool:
        """Take over one entry and see it through; False when there is none."""
        items = await self._store.work.reclaim(
            self.consumer, min_idle_seconds=self._settings.reclaim_idle_seconds, count=1
        )
        for item in items:
            under_way = self._held.get(_held_key(item))
            if under_way is not None:  # our own: the detector is slow, not dead
                await under_way.wait()
            elif item.deliveries > self._settings.max_deliveries:
                await self._bury(item)
            else:
                self._metrics.reclaimed()
                await self._store.work.leave_order(item)
                await self._prepare([item])
                under_way = self._held.get(_held_key(item))
                if under_way is not None:
                    await under_way.wait()
        return bool(items)

    async def _wake(self) -> None:
        """Take frames up again whose enhancement did not come; also those that were left by a
        worker with other settings. Tell outcomes that waited too long for an earlier one.
        """
        store, metrics = self._store, self._metrics
        while True:
            try:
                await store.awaiting.wake_overdue(self._clock_unix_us())
                await store.work.release_held(self._settings.order_wait_seconds)
                metrics.awaiting(await store.awaiting.count())
                metrics.outstanding(await store.work.outstanding(Lane.REVIEW, Lane.LIVE))
                metrics.backfill(await store.work.outstanding(Lane.BACKFILL))
                metrics.dead_letters(await store.work.dead_count())
            except RedisError as exc:
                logger.warning("the frames that wait cannot be read: %s", exc)
            await asyncio.sleep(_WAKE_SECONDS)

    async def _prepare(self, items: Sequence[WorkItem]) -> None:
        """Load frames and hand them to the batcher, or say why not."""
        for item in items:
            self._held[_held_key(item)] = asyncio.Event()
        left = list(items)
        try:
            frames = await self._store.load_frames([item.frame_id for item in items])
            for item, frame in zip(items, frames, strict=True):
                if frame is None:
                    await self._drop(item, "gone before it was detected")
                else:
                    await self._submit(item, *frame)
                left.remove(item)
        except BaseException:  # they will be reclaimed
            for item in left:
                self._release(item)
            raise

    async def _submit(self, item: WorkItem, record: FrameRecord, base: bytes) -> None:
        if record.state is not FrameState.QUEUED:
            await self._finish(item)
        elif not await self._drop_if_expired(item, record):
            enhancement = None
            if record.presence is not None:  # it comes back from waiting for it
                enhancement = await self._store.get_enhancement(item.frame_id)
            containers = EngineJob(base, enhancement, triage=record.presence is None)
            await self._batcher.submit(_Job(item, record, containers))

    async def _drop_if_expired(self, item: WorkItem, record: FrameRecord) -> bool:
        now_us = self._clock_unix_us()
        if not 0 < record.expires_unix_us < now_us:
            return False
        await self._drop(item, expired_reason(now_us - record.received_time_unix_us))
        return True

    async def _drop(self, item: WorkItem, reason: str) -> None:
        await self._store.set_dropped(item.frame_id, reason)
        self._metrics.lost("dropped")
        logger.warning("dropped: %s", reason, extra={"frame_id": item.frame_id})
        await self._finish(item)

    async def _bury(self, item: WorkItem) -> None:
        reason = await self._store.work.bury(item)
        if reason:
            self._metrics.lost("dead_letter")
            logger.error("dead letter: %s", reason, extra={"frame_id": item.frame_id})

    async def _finish(self, item: WorkItem) -> None:
        try:
            await self._store.work.done(item)
        finally:
            self._release(item)

    def _release(self, item: WorkItem) -> None:
        under_way = self._held.pop(_held_key(item), None)
        if under_way is not None:
            under_way.set()

    # --- doing it ---

    async def _run_batch(self, jobs: list[_Job]) -> None:
        """Detect the frames of a batch that still want it."""
        try:
            wanted = await self._still_wanted(jobs)
        except RedisError as exc:  # they will be reclaimed
            logger.warning("the work queue does not answer: %s", exc)
            for job in jobs:
                self._release(job.work)
        else:
            if wanted:
                await self._detect(wanted)

    async def _still_wanted(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Those that are neither cancelled nor expired while they waited for their batch."""
        standing = await self._store.work.wanted([job.work for job in jobs])
        wanted: list[_Job] = []
        for job, stands in zip(jobs, standing, strict=True):
            if not stands:
                await self._finish(job.work)
            elif not await self._drop_if_expired(job.work, job.record):
                wanted.append(job)
        return wanted

    async def _detect(self, jobs: list[_Job]) -> None:
        started_us = self._clock_unix_us()
        try:
            results = await self._engine.detect([job.containers for job in jobs])
        except Exception as exc:
            if len(jobs) > 1:  # find out whose fault it is
                for job in jobs:
                    await self._detect([job])
            else:
                await self._fail_try(jobs[0], exc)
            return
        self._metrics.batch(len(jobs), results[0].compute_seconds)
        for job, result in zip(jobs, results, strict=True):
            try:
                if result.judgement.verdict is Verdict.ENHANCE:
                    await self._await_enhancement(job, result)
                else:
                    await self._store_result(job, result, started_us, len(jobs))
            except RedisError as exc:  # not done: it will be reclaimed
                logger.warning("a result was not stored: %s", exc)
                self._release(job.work)

    async def _fail_try(self, job: _Job, error: Exception) -> None:
        """Leave a frame on the queue: it is reclaimed, tried again, and given up in the end."""
        logger.error("detection failed", exc_info=error, extra={"frame_id": job.record.frame_id})
        self._metrics.lost("crash")
        try:
            await self._store.work.fail_try(job.work, f"{type(error).__name__}: {error}")
        except RedisError as exc:
            logger.warning("a failure was not noted: %s", exc)
        self._release(job.work)

    async def _await_enhancement(self, job: _Job, result: EngineResult) -> None:
        """Let a frame wait for its enhancement and ask for it; first the one, then the other, so
        that the answer cannot be there before.
        """
        presence, level = result.judgement.presence, self._engine.enhance_level
        assert presence is not None, "only triage asks for enhancements"
        assert level is not None, "only triage asks for enhancements"
        now_us = self._clock_unix_us()
        wait_us = round(1e6 * self._settings.triage_wait_seconds)
        if job.record.expires_unix_us:
            wait_us = min(wait_us, max(0, job.record.expires_unix_us - now_us) // 2)
        parked = await self._store.awaiting.park(
            job.work, presence=presence, level=level, until_unix_us=now_us + wait_us
        )
        if parked is Parked.YES:
            self._release(job.work)
            await self._store.refetches.request(
                job.record.frame_id, level=level, expires_unix_us=now_us + wait_us
            )
        elif parked is Parked.SETTLED:
            await self._finish(job.work)
        else:
            logger.warning("too many frames wait for enhancements: detected from what was sent")
            record = replace(job.record, presence=presence)
            containers = replace(job.containers, triage=False)
            await self._detect([_Job(job.work, record, containers)])

    async def _store_result(
        self, job: _Job, result: EngineResult, started_us: int, batch_size: int
    ) -> None:
        frame_id, received_us = job.record.frame_id, job.record.received_time_unix_us
        if result.error is not None:
            is_first = await self._store.set_failed(frame_id, str(result.error))
            self._metrics.lost("bitstream")
            logger.error("not decoded: %s", result.error, extra={"frame_id": frame_id})
        else:
            queue_seconds = max(0.0, (started_us - received_us) / 1e6)
            triage, presence = _triage_of(job, result)
            is_first = await self._store.put_detections(
                frame_id,
                DetectionResult(
                    detections=result.detections,
                    detector=self._engine.detector_label,
                    codec=self._engine.codec_label,
                    min_score=self._engine.min_score,
                    queue_seconds=queue_seconds,
                    compute_seconds=result.compute_seconds,
                    batch_size=batch_size,
                    detected_time_unix_us=self._clock_unix_us(),
                    triage=triage,
                    presence=presence,
                ),
            )
            self._metrics.detected(job.record.level, queue_seconds)
            record_span("detect", job.record.traceparent, result.compute_seconds)
            if is_first and triage is not Triage.NONE:
                self._metrics.triaged(triage)
        if is_first:  # that took it off the queue
            self._release(job.work)
        else:
            await self._finish(job.work)


def _held_key(item: WorkItem) -> tuple[Lane, str]:
    return item.lane, item.entry_id


def _triage_of(job: _Job, result: EngineResult) -> tuple[Triage, float | None]:
    """What the record says of a frame's first rung."""
    if job.record.presence is not None:  # judged before
        came = job.containers.enhancement is not None
        return (Triage.ENHANCED if came else Triage.FALLBACK), job.record.presence
    presence = result.judgement.presence
    if presence is None:
        return Triage.NONE, None
    is_quiet = result.judgement.verdict is Verdict.QUIET
    return (Triage.QUIET if is_quiet else Triage.SENT), presence
