"""Work queue -> detections. Any number of workers share one queue.

    slim:work ─ take, reclaim ─► containers ─► batcher ─► engine ─► put_detections, entry done
      ▲             │                │ expired,   │          │ bad bytes ─► failed
      │             │                │ cancelled ─┴► dropped │ crash ─► stays, is reclaimed
      │             └ 5 deliveries ─► dead letter, failed    │ triage: quiet ─► no detections, done
      └── slim:awaiting ◄── park, ask the camera ────────────┘ triage: enhancement wanted

In the code, in one direction:

    run ─► _fetch, _reclaim ─► _prepare ─► _submit ─► Batcher.submit        what was taken
    serve_batches ─► Batcher.batch ─► BatchRunner.run ─► its outcome        what is detected

`HeldWork` knows what this worker has taken and not ended; whoever ends a frame says so there.

An entry leaves the queue in the step that stores its outcome, so a worker that dies loses nothing:
another reclaims its entries. A frame that is detected twice gives the same result, and only the
first is kept. First in, first out per camera and lane; the newest are not preferred. A frame that
waits for its enhancement is answered after quiet ones that came later.
"""

import asyncio
import logging
import math
import os
import socket
import uuid
from collections.abc import Sequence

from redis.exceptions import RedisError

from slimcloud.chain import Chain
from slimcloud.detect.batch import BatchRunner, Engine, HeldWork, Job
from slimcloud.detect.batcher import Batcher
from slimcloud.detect.engine import EngineJob
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.store.periodic import repeat
from slimcloud.store.records import FrameState, Lane, StoredFrame
from slimcloud.store.work_queue import WorkItem
from slimcodec.symbols import FrameSymbols
from slimdetect.detector import batch_size

logger = logging.getLogger(__name__)

_BLOCK_SECONDS = 1.0
_BUSY_BLOCK_SECONDS = 0.05  # while backfill is left waiting in favour of what is live
_RETRY_SECONDS = 0.5
_WAKE_SECONDS = 0.1  # how late a frame may be woken whose enhancement did not come
_MEASURE_SECONDS = 1.0  # how old the gauges may be


class DetectWorker:
    """One consumer of the work queue; `run` and `serve_batches` run side by side."""

    def __init__(
        self, store: Store, engine: Engine, settings: CloudSettings, metrics: DetectMetrics
    ) -> None:
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._store = store
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._held = HeldWork(store, metrics)
        self._taking: asyncio.Future[bool] | None = None
        self._batches = BatchRunner(store, engine, settings, metrics, self._held)
        self._batcher: Batcher[Job] = Batcher(
            key=lambda job: (
                engine.latent_hw(job.record.image_hw),
                job.work.entry_id if job.work.deliveries > 1 else "",
            ),
            order=lambda job: (job.record.frame_id.camera_id, job.work.lane),
            priority=lambda job: list(Lane).index(job.work.lane),
            max_batch_size=lambda job: batch_size(
                math.prod(job.record.image_hw), settings.max_batch_size
            ),
            max_queue_delay_seconds=settings.max_queue_delay_seconds,
            max_queue_size=2 * settings.max_batch_size,
        )

    async def run(self) -> None:
        """Take work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fetch())
            tasks.create_task(repeat(self._reclaim, self._settings.reclaim_idle_seconds / 3))
            tasks.create_task(repeat(self._wake, _WAKE_SECONDS))
            tasks.create_task(repeat(self._measure, _MEASURE_SECONDS))

    async def serve_batches(self) -> None:
        """Detect what was taken, until cancelled; runs beside `run` and outlives it."""
        while True:
            async with self._batcher.batch() as jobs:
                await self._batches.run(jobs)

    async def drain(self) -> None:
        """Return when all that was taken has its outcome; `run` is cancelled before."""
        if self._taking is not None:
            await asyncio.gather(self._taking, return_exceptions=True)
        await self._batcher.drained()
        await self._store.work.retire(self.consumer)

    # --- taking work ---

    async def _fetch(self) -> None:
        while True:
            space = await self._batcher.space()
            # Half of the waiting room is kept from backfill: what is live finds a place at once.
            backfill_count = max(0, space - self._settings.max_batch_size)
            try:
                # What was taken is seen through: a stop ends the taking only.
                self._taking = asyncio.ensure_future(self._take(space, backfill_count))
                if not await asyncio.shield(self._taking):
                    await self._store.work.wait(
                        _BLOCK_SECONDS if backfill_count else _BUSY_BLOCK_SECONDS
                    )
            except RedisError as exc:
                logger.warning("the work queue does not answer: %s", exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, space: int, backfill_count: int) -> bool:
        """Take what there is room for, a batch at most: a worker beside this one may have nothing
        to do. False when there is nothing.
        """
        count = min(space, self._settings.max_batch_size)
        items = await self._store.work.take(
            self.consumer, count=count, backfill_count=backfill_count
        )
        await self._prepare(items)
        return bool(items)

    async def _reclaim(self) -> None:
        """Take over what silent workers left, and line up what an older ingest queued.

        One entry at a time, and it runs alone: an entry that kills its worker must not count as a
        delivery of any other.
        """
        await self._store.work.line_up()
        idle_seconds = self._settings.reclaim_idle_seconds
        while item := await self._store.work.reclaim(self.consumer, min_idle_seconds=idle_seconds):
            if self._held.holds(item):  # our own: the detector is slow, not dead
                await self._store.work.keep(item, self.consumer)
                await self._held.ended(item)
            elif item.deliveries > self._settings.max_deliveries:
                await self._give_up(item)
            else:
                self._metrics.reclaimed.inc()
                await self._store.work.leave_order(item)
                await self._prepare([item])
                await self._held.ended(item)

    async def _wake(self) -> None:
        """Take frames up again whose enhancement did not come; also those that were left by a
        worker with other settings. Tell outcomes that waited too long for an earlier one.
        """
        await self._store.work.wake_overdue(self._store.clock())
        await self._store.work.release_held(self._settings.order_wait_seconds)

    async def _measure(self) -> None:
        """Show what waits, of all workers together."""
        work, metrics = self._store.work, self._metrics
        metrics.awaiting.set(await work.parked_count())
        metrics.outstanding.set(await work.outstanding(Lane.REVIEW, Lane.LIVE))
        metrics.backfill.set(await work.outstanding(Lane.BACKFILL))
        metrics.dead_letters.set(await work.dead_count())

    async def _prepare(self, items: Sequence[WorkItem]) -> None:
        """Load frames and hand them to the batcher, or say why not."""
        self._held.hold(items)
        left = list(items)
        try:
            frames = await self._store.load_frames([item.frame_id for item in items])
            needed = await self._load_needed([frame[0] for frame in frames if frame is not None])
            for item, frame in zip(items, frames, strict=True):
                if frame is None:
                    await self._held.drop(item, "gone before it was detected")
                else:
                    await self._submit(item, *frame, needed.get(item.frame_id, ()))
                left.remove(item)
        except BaseException:  # they will be reclaimed
            for item in left:
                self._held.release(item)
            raise

    async def _load_needed(
        self, records: Sequence[StoredFrame]
    ) -> dict[FrameId, FrameSymbols | Chain]:
        """The reference of each frame that has one: its symbols, or all that these take."""
        references = {r.frame_id: ref for r in records if (ref := r.reference_id) is not None}
        needed: dict[FrameId, FrameSymbols | Chain] = {
            frame_id: symbols
            for frame_id, reference in references.items()
            if (symbols := self._engine.kept(reference)) is not None
        }
        missing = [frame_id for frame_id in references if frame_id not in needed]
        return needed | dict(zip(missing, await self._store.load_chains(missing), strict=True))

    async def _submit(
        self, item: WorkItem, record: StoredFrame, base: bytes, needed: FrameSymbols | Chain
    ) -> None:
        if record.state is not FrameState.QUEUED:
            await self._held.finish(item)
        elif not await self._held.drop_if_expired(item, record):
            enhancement = None
            if record.presence is not None:  # it comes back from waiting for it
                enhancement = await self._store.get_enhancement(item.frame_id)
            triage = record.presence is None
            containers = EngineJob(base, enhancement, record.frame_id, needed, triage=triage)
            await self._batcher.submit(Job(item, record, containers))

    async def _give_up(self, item: WorkItem) -> None:
        reason = await self._store.work.dead_letter(item)
        if reason:
            self._metrics.lost.labels("dead_letter").inc()
            logger.error("dead letter: %s", reason, extra={"frame_id": item.frame_id})
