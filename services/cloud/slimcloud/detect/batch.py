"""A batch of frames -> their outcomes.

batch ─► still wanted? ─► engine ─┬─► detections, or quiet: stored
                                  ├─► bad bytes ─► failed, with the reason
                                  ├─► its enhancement is wanted ─► parked, the camera is asked
                                  └─► crash ─► each alone ─► stays, is reclaimed, tried again
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from redis.exceptions import RedisError

from slimcloud.detect.engine import EngineJob, EngineResult, TriageVerdict
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.errors import CloudError
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.store.records import DetectionResult, StoredFrame, Triage
from slimcloud.store.work_queue import Parked, WorkItem
from slimcodec.symbols import FrameSymbols
from slimops.tracing import record_span

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """The part of `slimcloud.detect.engine.DetectionEngine` that is needed here."""

    codec_label: str
    detector_label: str
    min_score: float

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]: ...

    def kept(self, frame_id: FrameId) -> FrameSymbols | None: ...

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]: ...


@dataclass(frozen=True, slots=True)
class Job:
    work: WorkItem
    record: StoredFrame
    containers: EngineJob
    known: DetectionResult | None = None  # what was found in its reference, and holds for it


class HeldWork:
    """What one worker has taken and what has no outcome yet.

    hold ─┬─ finish   its outcome is stored, or its frame is gone: off the queue
          ├─ drop     it is not to be detected, and why: off the queue
          └─ release  it stays on the queue, to be reclaimed; or left it with its outcome
    """

    def __init__(self, store: Store, metrics: DetectMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._ended: dict[WorkItem, asyncio.Event] = {}

    def hold(self, items: Iterable[WorkItem]) -> None:
        for item in items:
            self._ended[item] = asyncio.Event()

    def holds(self, item: WorkItem) -> bool:
        return item in self._ended

    async def ended(self, item: WorkItem) -> None:
        """Return when an entry is held no more; at once when it is not held."""
        ended = self._ended.get(item)
        if ended is not None:
            await ended.wait()

    def release(self, item: WorkItem) -> None:
        ended = self._ended.pop(item, None)
        if ended is not None:
            ended.set()

    async def finish(self, item: WorkItem) -> None:
        try:
            await self._store.work.done(item)
        finally:
            self.release(item)

    async def drop(self, item: WorkItem, reason: str) -> None:
        await self._store.set_dropped(item.frame_id, reason)
        self._metrics.lost.labels("dropped").inc()
        logger.warning("dropped: %s", reason, extra={"frame_id": item.frame_id})
        await self.finish(item)

    async def drop_if_expired(self, item: WorkItem, record: StoredFrame) -> bool:
        """Whether the frame's deadline has passed, and it was dropped for that."""
        reason = record.expired_reason(self._store.clock())
        if reason is not None:
            await self.drop(item, reason)
        return reason is not None


@dataclass(frozen=True, eq=False)
class BatchRunner:
    """Runs the batches of one worker, one at a time."""

    store: Store
    engine: Engine
    settings: CloudSettings
    metrics: DetectMetrics
    held: HeldWork

    async def run(self, jobs: list[Job]) -> None:
        """Detect the frames of a batch that did not expire and were not cancelled meanwhile."""
        wanted: list[Job] = []
        try:
            standing = await self.store.work.wanted([job.work for job in jobs])
            for job, stands in zip(jobs, standing, strict=True):
                if not stands:
                    await self.held.finish(job.work)
                elif not await self.held.drop_if_expired(job.work, job.record):
                    wanted.append(job)
        except RedisError as exc:  # they will be reclaimed
            logger.warning("the work queue does not answer: %s", exc)
            for job in jobs:
                self.held.release(job.work)
            return
        while wanted:
            ids = {job.record.frame_id for job in wanted}
            behind = [job for job in wanted if _unchanged_since(job.record) in ids]
            ahead = [job for job in wanted if job not in behind]
            await self._detect([await self._with_known(job) for job in ahead])
            wanted = behind

    async def _detect(self, jobs: list[Job]) -> None:
        started_us = self.store.clock()
        try:
            results = await self.engine.detect([job.containers for job in jobs])
        except Exception as exc:
            if len(jobs) > 1:  # find out whose fault it is
                for job in jobs:
                    await self._detect([job])
            else:
                await self._fail_try(jobs[0], exc)
            return
        self.metrics.batch_frames.observe(len(jobs))
        self.metrics.compute_seconds.observe(results[0].compute_seconds)
        for job, result in zip(jobs, results, strict=True):
            try:
                if result.judgement.verdict is TriageVerdict.ENHANCE:
                    await self._await_enhancement(job, result)
                else:
                    await self._store_result(job, result, started_us, len(jobs))
            except RedisError as exc:  # not done: it will be reclaimed
                logger.warning("a result was not stored: %s", exc)
                self.held.release(job.work)

    async def _with_known(self, job: Job) -> Job:
        """What was found in its reference is known of a frame in which nothing changed since."""
        reference = _unchanged_since(job.record)
        if reference is None:
            return job
        # the reference is gone, or the store does not answer: the graphs look
        with suppress(CloudError, RedisError):
            if (known := await self.store.get_detections(reference)) is not None:
                return Job(job.work, job.record, replace(job.containers, is_answered=True), known)
        return job

    async def _fail_try(self, job: Job, error: Exception) -> None:
        """Leave a frame on the queue: it is reclaimed, tried again, and given up in the end."""
        logger.error("detection failed", exc_info=error, extra={"frame_id": job.record.frame_id})
        self.metrics.lost.labels("crash").inc()
        try:
            await self.store.work.fail_try(job.work, f"{type(error).__name__}: {error}")
        except RedisError as exc:
            logger.warning("a failure was not noted: %s", exc)
        self.held.release(job.work)

    async def _await_enhancement(self, job: Job, result: EngineResult) -> None:
        """Let a frame wait for its enhancement and ask for it; first the one, then the other, so
        that the answer cannot be there before.
        """
        presence, level = result.judgement.presence, result.judgement.level
        assert presence is not None, "only triage asks for enhancements"
        assert level is not None, "only triage asks for enhancements"
        now_us = self.store.clock()
        wait_us = round(1e6 * self.settings.triage_wait_seconds)
        if job.record.expires_unix_us:
            wait_us = min(wait_us, max(0, job.record.expires_unix_us - now_us) // 2)
        parked = await self.store.work.park(
            job.work, presence=presence, level=level, until_us=now_us + wait_us
        )
        if parked is Parked.YES:
            self.held.release(job.work)
            await self.store.refetches.request(
                job.record.frame_id, level=level, expires_unix_us=now_us + wait_us
            )
        elif parked is Parked.SETTLED:
            await self.held.finish(job.work)
        else:
            logger.warning("too many frames wait for enhancements: detected from what was sent")
            record = job.record.model_copy(update={"presence": presence})
            containers = replace(job.containers, triage=False)
            await self._detect([Job(job.work, record, containers)])

    async def _store_result(
        self, job: Job, result: EngineResult, started_us: int, batch_size: int
    ) -> None:
        frame_id = job.record.frame_id
        if result.error is not None:
            is_first = await self.store.set_failed(frame_id, str(result.error))
            self.metrics.lost.labels("bitstream").inc()
            logger.error("not decoded: %s", result.error, extra={"frame_id": frame_id})
        else:
            queue_seconds = job.record.waited_us(started_us) / 1e6
            found = job.known or self._found(job, result)
            outcome = replace(
                found,
                queue_seconds=queue_seconds,
                compute_seconds=result.compute_seconds,
                batch_size=batch_size,
                detected_time_unix_us=job.record.received_time_unix_us
                + job.record.waited_us(self.store.clock()),
            )
            is_first = await self.store.put_detections(frame_id, outcome, result.activity)
            self.metrics.detected.labels(str(job.record.level)).inc()
            self.metrics.queue_seconds.observe(queue_seconds)
            record_span("detect", job.record.traceparent, result.compute_seconds)
            if is_first and job.known is not None:
                self.metrics.unchanged.inc()
            elif is_first and found.triage is not Triage.NONE:
                self.metrics.triaged.labels(found.triage).inc()
        if is_first:  # that took it off the queue
            self.held.release(job.work)
        else:
            await self.held.finish(job.work)

    def _found(self, job: Job, result: EngineResult) -> DetectionResult:
        """What the engine found; when is not said yet."""
        triage, presence = _triage_of(job, result)
        return DetectionResult(
            detections=tuple(result.detections),
            detector=self.engine.detector_label,
            codec=self.engine.codec_label,
            min_score=self.engine.min_score,
            queue_seconds=0,
            compute_seconds=0,
            batch_size=1,
            detected_time_unix_us=0,
            triage=triage,
            presence=presence,
        )


def _unchanged_since(record: StoredFrame) -> FrameId | None:
    """The frame that all of this one is the same as, unless it is judged otherwise already."""
    is_same = record.activity == 0 and record.presence is None
    return record.reference_id if is_same else None


def _triage_of(job: Job, result: EngineResult) -> tuple[Triage, float | None]:
    """What the record says of a frame's first rung."""
    if job.record.presence is not None:  # judged before
        came = job.containers.enhancement is not None
        return (Triage.ENHANCED if came else Triage.FALLBACK), job.record.presence
    presence = result.judgement.presence
    if presence is None:
        return Triage.NONE, None
    is_quiet = result.judgement.verdict is TriageVerdict.QUIET
    return (Triage.QUIET if is_quiet else Triage.SENT), presence
