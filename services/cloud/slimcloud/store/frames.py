"""What the cloud remembers: frames, enhancements, detections, and everything about them, in Redis.

`Store` holds the frames themselves; its parts hold the rest:

    store.work        queue of frames that wait for the detector     store.work.queue
    store.requests    who asks for a frame's detection               store.work.requests
    store.awaiting    frames that wait for their enhancement before  store.work.awaiting
    store.events      what happened, in order                        store.events
    store.cameras     who is connected                               store.cameras.registry
    store.refetches   requests for enhancements and their answers    store.cameras.refetches
    store.reviews     who looked at what, marks and comments         store.reviews
    store.timeline    how many frames when                           store.timeline
    store.gaps        what cameras dropped, and why                  store.cameras.gaps
    store.budgets     the bytes that each camera keeps to            store.cameras.budgets
    store.retention   removes what is too old or too much            store.retention

The layout of the keys, with their lifetimes, is in `slimcloud.store.keys`. Every method may raise
`redis.RedisError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from slimcloud.errors import FrameGoneError, FrameNotFoundError, StoreFullError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys, scripts
from slimcloud.store.cameras.budgets import BudgetLog
from slimcloud.store.cameras.gaps import GapLog
from slimcloud.store.cameras.refetches import RefetchLog
from slimcloud.store.cameras.registry import CameraRegistry
from slimcloud.store.events import EventLog
from slimcloud.store.listing import list_frames
from slimcloud.store.records import (
    DetectionResult,
    EventKind,
    FrameFilter,
    FrameState,
    Lane,
    Totals,
)
from slimcloud.store.replies import fields_of, is_out_of_memory, text
from slimcloud.store.retention import Retention
from slimcloud.store.reviews import ReviewLog
from slimcloud.store.stored_frame import CONTAINER, FramePage, StoredFrame
from slimcloud.store.timeline import Timeline
from slimcloud.store.work.awaiting import AwaitingFrames
from slimcloud.store.work.queue import LANE_KEYS, WorkQueue
from slimcloud.store.work.requests import DetectionRequests
from slimcloud.wall_clock import unix_us
from slimcodec.container import MAX_LEVELS


class Store:
    """Frames, enhancements and detections. Every write may be repeated without harm."""

    def __init__(
        self,
        client: Redis,
        *,
        retention_seconds: int = 24 * 3600,
        max_stored_bytes: int = 128 * 2**20,
        max_queue_size: int = 1000,
        queue_timeout_seconds: float | None = None,
        clock_unix_us: Callable[[], int] = unix_us,
    ) -> None:
        """
        Args:
            client: from `slimops.redis_connection`.
            retention_seconds: how long a frame is kept.
            max_stored_bytes: container bytes that are kept; beyond it the oldest frames go.
            max_queue_size: frames of each lane that may wait for the detector; beyond it
                `put_frame` refuses.
            queue_timeout_seconds: live frames without a deadline get this one; None = none.
        """
        self._client = client
        self._clock_unix_us = clock_unix_us
        self._ttl = retention_seconds + keys.RETENTION_SLACK_SECONDS
        self._max_queue_size = max_queue_size
        self._queue_timeout_seconds = queue_timeout_seconds
        self.work = WorkQueue(client)
        self.events = EventLog(client)
        self.cameras = CameraRegistry(client, clock_unix_us)
        self.awaiting = AwaitingFrames(client, max_queue_size)
        self.requests = DetectionRequests(client, max_queue_size, self.set_dropped, self._absent)
        self.refetches = RefetchLog(client, self.events, self.awaiting, clock_unix_us)
        self.reviews = ReviewLog(client)
        self.timeline = Timeline(client)
        self.gaps = GapLog(client)
        self.budgets = BudgetLog(client, self.events)
        self.retention = Retention(client, retention_seconds, max_stored_bytes, clock_unix_us)
        self._put_frame = scripts.PUT_FRAME.on(client)
        self._put_enhancement = scripts.PUT_ENHANCEMENT.on(client)
        self._put_detections = scripts.PUT_DETECTIONS.on(client)
        self._set_outcome = scripts.SET_OUTCOME.on(client)

    async def ping(self) -> None:
        """Wait until Redis answers."""
        await self._client.ping()

    # --- frames ---

    async def put_frame(self, frame: StoredFrame, container: bytes) -> bool:
        """Store a frame and queue it for the detector, as one step; False when it was there
        already.

        Raises:
            StoreFullError: too much work waits, or Redis is out of memory; nothing was written.
        """
        frame_id, is_live = frame.frame_id, frame.lane is Lane.LIVE
        if is_live and not frame.expires_unix_us and self._queue_timeout_seconds is not None:
            expires_us = frame.received_time_unix_us + round(1e6 * self._queue_timeout_seconds)
            frame = frame.model_copy(update={"expires_unix_us": expires_us})
        try:
            stored = await self._put_frame(
                CONTAINER,
                container,
                *frame.written(),
                frame=keys.frame_key(frame_id),
                index_all=keys.INDEX_ALL,
                index_camera=keys.index_camera_key(frame_id.camera_id),
                index_received=keys.INDEX_RECEIVED,
                sizes=keys.SIZES,
                totals=keys.TOTALS,
                epoch=keys.epoch_key(frame_id.camera_id, frame_id.epoch),
                lane=LANE_KEYS[frame.lane],
                camera=keys.camera_key(frame_id.camera_id),
                id=str(frame_id),
                sequence=str(frame_id.sequence),
                captured_us=frame.capture_time_unix_us,
                received_us=frame.received_time_unix_us,
                bytes=len(container),
                ttl=self._ttl,
                epoch_ttl=keys.EPOCH_TTL_SECONDS,
                max_queue_size=self._max_queue_size,
                expires_us=frame.expires_unix_us,
            )
        except ResponseError as exc:
            raise _store_full(exc) from exc
        if stored == -1:
            raise StoreFullError(
                f"{self._max_queue_size} {frame.lane} frames wait for the detector already"
            )
        return bool(stored == 1)

    async def get_frame(self, frame_id: FrameId) -> StoredFrame:
        """The frame without its bytes.

        Raises:
            FrameNotFoundError: it was never stored.
            FrameGoneError: retention has removed it.
        """
        record = await self._find(frame_id)
        if record is None:
            raise await self._absent(frame_id)
        return record

    async def get_container(self, frame_id: FrameId) -> bytes:
        """The base container of a frame; raises as `get_frame`."""
        container = await self._client.hget(keys.frame_key(frame_id), CONTAINER)
        if not isinstance(container, bytes):
            raise await self._absent(frame_id)
        return container

    async def load_frames(
        self, frame_ids: Sequence[FrameId]
    ) -> list[tuple[StoredFrame, bytes] | None]:
        """Frames with their base containers, in one round trip; None for those that are gone."""
        pipeline = self._client.pipeline(transaction=False)
        for frame_id in frame_ids:
            pipeline.hmget(keys.frame_key(frame_id), [*StoredFrame.names(), CONTAINER])
        loaded: list[tuple[StoredFrame, bytes] | None] = []
        for frame_id, (*values, container) in zip(frame_ids, await pipeline.execute(), strict=True):
            record = StoredFrame.read(frame_id, values)
            loaded.append(None if record is None else (record, bytes(container)))
        return loaded

    async def list_frames(
        self, frame_filter: FrameFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> FramePage:
        """Frames by capture time, newest first.

        Raises:
            InvalidCursorError: `cursor` is not a `next_cursor` of an earlier page.
        """
        return await list_frames(self._client, frame_filter or FrameFilter(), limit, cursor)

    async def highest_sequence(self, camera_id: str, epoch: int) -> int:
        """The highest sequence of this epoch that is PERSISTED; 0 = none."""
        return int(text(await self._client.get(keys.epoch_key(camera_id, epoch))) or 0)

    async def persisted(self, camera_id: str, epoch: int, sequences: Sequence[int]) -> list[int]:
        """Those of some frames of one epoch that are stored now."""
        pipeline = self._client.pipeline(transaction=False)
        for sequence in sequences:
            pipeline.exists(keys.frame_key(FrameId(camera_id, epoch, sequence)))
        found = await pipeline.execute()
        return [sequence for sequence, exists in zip(sequences, found, strict=True) if exists]

    # --- what the detector says ---

    async def put_detections(self, frame_id: FrameId, result: DetectionResult) -> bool:
        """Store the detector's result and take the frame off the queue; False when the frame has an
        outcome already or is gone.

        The same step writes the event that tells of it, at once or when it is the frame's turn
        (`settle`, `announce` in `slimcloud.store.work.scripts`). Ingest reads the event
        (`slimcloud.ingest.event_relay.EventRelay`) and acknowledges DETECTED to the camera; the
        same holds for what `set_dropped` and `set_failed` store, and Nacks.
        """
        label_scores: dict[str, float] = {}
        for detection in result.detections:
            best = label_scores.get(detection.label, 0.0)
            label_scores[detection.label] = max(best, detection.score)
        stored = await self._put_detections(
            frame=keys.frame_key(frame_id),
            detections=keys.detections_key(frame_id),
            totals=keys.TOTALS,
            id=str(frame_id),
            document=result.to_json(),
            label_scores=json.dumps(label_scores, separators=(",", ":")),
            ttl=self._ttl,
            triage=result.triage,
            presence="" if result.presence is None else result.presence,
        )
        return bool(stored == 1)

    async def get_detections(self, frame_id: FrameId) -> DetectionResult | None:
        """The detector's result; None while there is none. Raises as `get_frame`."""
        document = await self._client.get(keys.detections_key(frame_id))
        if document is None:
            await self.get_frame(frame_id)
            return None
        return DetectionResult.from_json(document)

    async def set_dropped(self, frame_id: FrameId, reason: str) -> bool:
        """Leave a frame undetected and take it off the queue; False as for `set_failed`."""
        return await self._outcome(frame_id, FrameState.DROPPED, reason)

    async def set_failed(self, frame_id: FrameId, reason: str) -> bool:
        """Note that a frame cannot be detected and take it off the queue; False when it has an
        outcome already or is gone.
        """
        return await self._outcome(frame_id, FrameState.FAILED, reason)

    # --- enhancements ---

    async def put_enhancement(
        self,
        frame_id: FrameId,
        container: bytes,
        request_id: str = "",
        *,
        level: int = MAX_LEVELS - 1,
    ) -> bool:
        """Store the enhancement of a frame and answer its request; False when one that reaches as
        far was there already. A wider one takes the place of a narrower one.

        Args:
            level: the level that it lifts the frame to.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame that it enhances is not stored.
            StoreFullError: Redis is out of memory.
        """
        try:
            stored = await self._put_enhancement(
                frame=keys.frame_key(frame_id),
                enhancement=keys.enhancement_key(frame_id),
                sizes=keys.SIZES,
                totals=keys.TOTALS,
                events=keys.EVENTS,
                awaiting=keys.AWAITING,
                live=keys.WORK,
                camera=keys.camera_key(frame_id.camera_id),
                id=str(frame_id),
                container=container,
                bytes=len(container),
                ttl=self._ttl,
                camera_id=frame_id.camera_id,
                request_id=request_id,
                level=level,
                now_us=self._clock_unix_us(),
                events_length=keys.EVENTS_LENGTH,
                event=EventKind.ENHANCEMENT_STORED,
            )
        except ResponseError as exc:
            raise _store_full(exc) from exc
        if stored == -1:
            raise await self._absent(frame_id)
        await self.refetches.set_done(frame_id, request_id, level)
        return bool(stored == 1)

    async def get_enhancement(self, frame_id: FrameId) -> bytes | None:
        """The enhancement container of a frame; None when there is none."""
        container = await self._client.get(keys.enhancement_key(frame_id))
        return container if isinstance(container, bytes) else None

    # --- counters and records ---

    async def totals(self) -> Totals:
        fields = fields_of(await self._client.hgetall(keys.TOTALS))
        return Totals(**{name: int(fields.get(name, 0)) for name in Totals.__dataclass_fields__})

    async def _find(self, frame_id: FrameId) -> StoredFrame | None:
        values = await self._client.hmget(keys.frame_key(frame_id), StoredFrame.names())
        return StoredFrame.read(frame_id, values)

    async def _outcome(self, frame_id: FrameId, state: FrameState, reason: str) -> bool:
        stored = await self._set_outcome(
            frame=keys.frame_key(frame_id),
            totals=keys.TOTALS,
            awaiting=keys.AWAITING,
            id=str(frame_id),
            outcome=state,
            reason=reason,
        )
        return bool(stored == 1)

    async def _absent(self, frame_id: FrameId) -> FrameNotFoundError | FrameGoneError:
        # Gaps count as gone too: a sequence below the highest one was stored or was refused long
        # ago.
        if frame_id.sequence <= await self.highest_sequence(frame_id.camera_id, frame_id.epoch):
            return FrameGoneError(frame_id)
        return FrameNotFoundError(frame_id)


def _store_full(error: ResponseError) -> StoreFullError:
    if not is_out_of_memory(error):
        raise error
    return StoreFullError("Redis is out of memory; raise its maxmemory or lower max_stored_bytes")
