"""Stage 9 of 12: work queue -> detections. Any number of workers share one queue.

    slim:work ─ read, reclaim ─► container ─► batcher ─► engine ─► put_detections ─► entry done
      ▲             │                │ expired ─► dropped    │ bad bytes ─► failed
      │             └ 5 deliveries ─► dead letter, failed    │ crash ─► stays, is reclaimed
      │                                                      │ triage: quiet ─► no detections, done
      └── slim:awaiting ◄── park, ask the camera ────────────┘ triage: enhancement wanted

An entry is taken off the queue only after its outcome is stored, so a worker that dies loses
nothing: another reclaims its entries. A frame that is detected twice gives the same result, and
only the first is kept. First in, first out per camera within one worker; the newest are not
preferred. A frame that waits for its enhancement is answered after quiet ones that came later.
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
from slimcloud.errors import CloudError
from slimcloud.records import DetectionResult, FrameRecord, FrameState, Triage
from slimcloud.settings import CloudSettings
from slimcloud.store import Store, unix_us
from slimcloud.triage import Verdict
from slimcloud.work import WorkItem

__all__ = ["DetectWorker", "Engine"]

logger = logging.getLogger(__name__)

_BLOCK_SECONDS: Final = 1.0
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
        self._held: dict[str, asyncio.Event] = {}  # entries between reading and outcome
        self._preparing: asyncio.Future[None] | None = None
        self._batcher: Batcher[_Job] = Batcher(
            self._run_batch,
            key=lambda job: (
                engine.latent_hw(job.record.image_hw),
                job.work.entry_id if job.work.deliveries > 1 else "",
            ),
            order=lambda job: job.record.frame_id.camera_id,
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
        if self._preparing is not None:
            await asyncio.gather(self._preparing, return_exceptions=True)
        await self._batcher.drained()
        await self._store.work.retire(self.consumer)

    @property
    def idle(self) -> bool:
        """Whether nothing is held: taken and without its outcome."""
        return not self._held

    # --- taking work ---

    async def _fetch(self) -> None:
        while True:
            await self._batcher.wait_for_space()
            try:
                items = await self._store.work.read(
                    self.consumer, count=self._batcher.free, block_seconds=_BLOCK_SECONDS
                )
                self._metrics.outstanding(await self._store.work.outstanding())
                # What was taken is seen through: a stop ends the taking only.
                self._preparing = asyncio.ensure_future(self._prepare_all(items))
                await asyncio.shield(self._preparing)
            except RedisError as exc:
                logger.warning("the work queue does not answer: %s", exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _prepare_all(self, items: Sequence[WorkItem]) -> None:
        for item in items:
            await self._prepare(item)

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
            under_way = self._held.get(item.entry_id)
            if under_way is not None:  # our own: the detector is slow, not dead
                await under_way.wait()
            elif item.deliveries > self._settings.max_deliveries:
                await self._bury(item)
            else:
                self._metrics.reclaimed()
                await self._prepare(item)
                under_way = self._held.get(item.entry_id)
                if under_way is not None:
                    await under_way.wait()
        return bool(items)

    async def _wake(self) -> None:
        """Take frames up again whose enhancement did not come; also those that were left by a
        worker with other settings.
        """
        while True:
            try:
                await self._store.awaiting.wake_overdue(self._clock_unix_us())
                self._metrics.awaiting(await self._store.awaiting.count())
            except RedisError as exc:
                logger.warning("the frames that wait cannot be read: %s", exc)
            await asyncio.sleep(_WAKE_SECONDS)

    async def _prepare(self, item: WorkItem) -> None:
        """Load a frame and hand it to the batcher, or say why not."""
        self._held[item.entry_id] = asyncio.Event()
        try:
            record = await self._store.get_frame(item.frame_id)
            base = await self._store.get_container(item.frame_id)
            enhancement = None
            if record.presence is not None:  # it comes back from waiting for it
                enhancement = await self._store.get_enhancement(item.frame_id)
            now_us = self._clock_unix_us()
            if record.state is FrameState.DETECTED:
                await self._finish(item)
            elif 0 < record.expires_unix_us < now_us:
                waited = (now_us - record.received_time_unix_us) / 1e6
                await self._drop(item, f"its deadline passed while it waited for {waited:.3f} s")
            else:
                containers = EngineJob(base, enhancement, triage=record.presence is None)
                await self._batcher.submit(_Job(item, record, containers))
        except CloudError as exc:
            await self._drop(item, f"gone before it was detected: {exc}")
        except BaseException:
            self._release(item)
            raise

    async def _drop(self, item: WorkItem, reason: str) -> None:
        await self._store.set_dropped(item.frame_id, reason)
        self._metrics.lost("dropped")
        logger.warning("dropped: %s", reason, extra={"frame_id": item.frame_id})
        await self._finish(item)

    async def _bury(self, item: WorkItem) -> None:
        reason = f"given up after {item.deliveries - 1} deliveries: its workers die or fail"
        await self._store.set_failed(item.frame_id, reason)
        await self._store.work.bury(item, reason)
        self._metrics.lost("dead_letter")
        logger.error("dead letter: %s", reason, extra={"frame_id": item.frame_id})

    async def _finish(self, item: WorkItem) -> None:
        try:
            await self._store.work.done(item)
        finally:
            self._release(item)

    def _release(self, item: WorkItem) -> None:
        under_way = self._held.pop(item.entry_id, None)
        if under_way is not None:
            under_way.set()

    # --- doing it ---

    async def _run_batch(self, jobs: list[_Job]) -> None:
        started_us = self._clock_unix_us()
        try:
            results = await self._engine.detect([job.containers for job in jobs])
        except Exception:
            if len(jobs) > 1:  # find out whose fault it is
                for job in jobs:
                    await self._run_batch([job])
                return
            # Left on the queue: it is reclaimed, tried again, and given up in the end.
            logger.exception("detection failed", extra={"frame_id": jobs[0].record.frame_id})
            self._metrics.lost("crash")
            self._release(jobs[0].work)
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
            await self._run_batch([_Job(job.work, record, containers)])

    async def _store_result(
        self, job: _Job, result: EngineResult, started_us: int, batch_size: int
    ) -> None:
        frame_id, received_us = job.record.frame_id, job.record.received_time_unix_us
        if result.error is not None:
            await self._store.set_failed(frame_id, str(result.error))
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
            if is_first and triage is not Triage.NONE:
                self._metrics.triaged(triage)
        await self._finish(job.work)


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
