"""What the cloud remembers: frames, enhancements, detections, and everything about them, in Redis.

`Store` holds the frames themselves; its parts hold the rest:

    store.work        queue of frames that wait for the detector     store.work_queue
    store.index       frames by capture time, and how many when      store.listing
    store.event_index what objects did, as people review it          store.event_index
    store.feed        what happened, in order                        store.feed
    store.outbox      what receivers outside are to be told          store.outbox
    store.cameras     who is connected                               store.cameras.registry
    store.refetches   requests for enhancements and their answers    store.cameras.refetches
    store.gaps        what cameras dropped, and why                  store.cameras.gaps
    store.budgets     the bytes that each camera keeps to            store.cameras.budgets
    store.rules       what of each camera is reported                store.cameras.rules
    store.reviews     who looked at what, marks and comments         store.reviews
    store.retention   removes what is too old or too much            store.retention
    store.clock       what ages and deadlines go by                  store.clock

The layout of the keys, with their lifetimes, is in `slimcloud.store.keys`. Every method may raise
`redis.RedisError`.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from redis.asyncio import Redis

from slimcloud.chain import Chain
from slimcloud.errors import (
    FrameGoneError,
    FrameNotFoundError,
    ReferenceRefusedError,
    StoreFullError,
    StoreLostError,
)
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.cameras.budgets import BudgetLog
from slimcloud.store.cameras.gaps import GapLog
from slimcloud.store.cameras.refetches import RefetchLog
from slimcloud.store.cameras.registry import CameraRegistry
from slimcloud.store.cameras.rules import RuleBook
from slimcloud.store.clock import StoreClock
from slimcloud.store.events.event_index import EventIndex
from slimcloud.store.events.outbox import Outbox
from slimcloud.store.feed import Feed
from slimcloud.store.listing import FrameIndex
from slimcloud.store.records import CONTAINER, DetectionResult, FrameState, Lane, StoredFrame
from slimcloud.store.replies import fields_of, full_memory_is_store_full, text
from slimcloud.store.retention import FRAME_BYTES, Retention
from slimcloud.store.reviews import ReviewLog
from slimcloud.store.scripts import Script
from slimcloud.store.work_queue import LANE_KEYS, MAX_LOOKED_AT, WorkQueue
from slimcloud.wall_clock import unix_us
from slimcodec.container import MAX_LEVELS

_PUT_FRAME = Script(__file__, "put_frame")
_PUT_ENHANCEMENT = Script(__file__, "put_enhancement")
_PUT_DETECTIONS = Script(__file__, "put_detections")
_SET_OUTCOME = Script(__file__, "set_outcome")
_REQUEST = Script(__file__, "request")
_LOAD_CHAINS = Script(__file__, "load_chains")


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """Counted since the store was made; bytes are container bytes."""

    frames: int
    frame_bytes: int
    enhancements: int
    enhancement_bytes: int
    detected: int
    dropped: int
    failed: int
    removed: int  # frames that retention removed
    stored_bytes: int  # held now, of results, too


class Store:
    """Frames, enhancements and detections. Every write may be repeated without harm."""

    def __init__(
        self,
        client: Redis,  # from `slimops.storage.redis_connection`
        *,
        retention_seconds: int = 24 * 3600,  # a frame is kept so long
        max_stored_bytes: int = 128 * 2**20,  # of frames; beyond it the oldest go
        frame_bytes: int = FRAME_BYTES,  # that each counts beside its containers
        max_event_bytes: int = 32 * 2**20,  # of these, of events; beyond it the oldest go
        max_queue_size: int = 1000,  # frames of a lane that wait; beyond it `put_frame` refuses
        queue_timeout_seconds: float | None = None,  # of live frames without a deadline
        max_reference_depth: int = 8,  # frames that one may need, beyond it `put_frame` refuses
        clock: Callable[[], int] | None = None,  # of ages and deadlines, us; None = `StoreClock`
        clock_unix_us: Callable[[], int] = unix_us,  # the wall clock, for people
    ) -> None:
        self._client = client
        self.clock = clock = clock or StoreClock(client)
        self._clock_unix_us = clock_unix_us
        self._max_queue_size = max_queue_size
        self._queue_timeout_seconds = queue_timeout_seconds
        self._max_reference_depth = max_reference_depth
        self.work = WorkQueue(client, max_queue_size)
        self.index = FrameIndex(client)
        self.feed = Feed(client)
        self.event_index = EventIndex(client, max_event_bytes)
        self.outbox = Outbox(client)
        self.cameras = CameraRegistry(client, clock, clock_unix_us)
        self.refetches = RefetchLog(client, self.feed, self.work, clock)
        self.gaps = GapLog(client)
        self.budgets = BudgetLog(client, self.feed)
        self.rules = RuleBook(client)
        self.reviews = ReviewLog(client)
        self.retention = Retention(client, retention_seconds, max_stored_bytes, frame_bytes, clock)

    async def ping(self) -> None:
        """Wait until Redis answers."""
        await self._client.ping()

    async def store_id(self) -> str:
        """The name of this store, made where there is none: Redis is new, or was emptied."""
        await self._client.set(keys.STORE_ID, uuid.uuid4().hex, nx=True)
        return text(await self._client.get(keys.STORE_ID))

    # --- frames ---

    async def put_frame(self, frame: StoredFrame, container: bytes, store_id: str = "") -> bool:
        """Store a frame and queue it for the detector, as one step; False when it was there
        already.

        Args:
            store_id: of the store that is meant; empty: whichever is there.

        Raises:
            StoreFullError: too much work waits, or Redis is out of memory; nothing was written.
            StoreLostError: another store is there; nothing was written.
            ReferenceRefusedError: its reference is not stored, has failed, or needs as many frames
                or as old a one as may be; nothing was written.
        """
        frame_id, is_live = frame.frame_id, frame.lane is Lane.LIVE
        if is_live and not frame.expires_unix_us and self._queue_timeout_seconds is not None:
            expires_us = frame.taken_us + round(1e6 * self._queue_timeout_seconds)
            frame = frame.model_copy(update={"expires_unix_us": expires_us})
        with full_memory_is_store_full():
            stored = await _PUT_FRAME(
                self._client,
                CONTAINER,
                container,
                *frame.written(),
                id=str(frame_id),
                lane=LANE_KEYS[frame.lane],
                captured_us=frame.captured_us,
                max_queue_size=self._max_queue_size,
                store_id=store_id,
                reference=frame.reference_sequence,
                max_depth=self._max_reference_depth,
                now_us=frame.taken_us,
            )
        if stored == -2:
            raise StoreLostError
        if stored in (-3, -4, -5):
            why = {
                -3: "is not stored, or has failed",
                -4: f"needs {self._max_reference_depth} frames already",
                -5: f"needs one of more than {keys.MAX_TREE_SECONDS} s ago",
            }
            raise ReferenceRefusedError(f"its reference {frame.reference_sequence} {why[stored]}")
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
        container = await self._client.hget(f"{keys.FRAME}{frame_id}", CONTAINER)
        if not isinstance(container, bytes):
            raise await self._absent(frame_id)
        return container

    async def load_frames(
        self, frame_ids: Sequence[FrameId]
    ) -> list[tuple[StoredFrame, bytes] | None]:
        """Frames with their base containers, in one round trip; None for those that are gone."""
        pipeline = self._client.pipeline(transaction=False)
        for frame_id in frame_ids:
            pipeline.hmget(f"{keys.FRAME}{frame_id}", [*StoredFrame.names(), CONTAINER])
        loaded: list[tuple[StoredFrame, bytes] | None] = []
        for frame_id, (*values, container) in zip(frame_ids, await pipeline.execute(), strict=True):
            record = StoredFrame.read(frame_id, values)
            loaded.append(None if record is None else (record, bytes(container)))
        return loaded

    async def load_chains(self, frame_ids: Sequence[FrameId]) -> list[Chain]:
        """What each frame needs, in one round trip; one that is missing has an empty container."""
        if not frame_ids:
            return []
        loaded = await _LOAD_CHAINS(self._client, *map(str, frame_ids))
        return [
            tuple((FrameId.parse(text(name)), bytes(container)) for name, container in pairs)
            for pairs in (zip(chain[::2], chain[1::2], strict=True) for chain in loaded)
        ]

    async def highest_sequence(self, camera_id: str, epoch: int) -> int:
        """The highest sequence of this epoch that is PERSISTED; 0 = none."""
        return int(text(await self._client.get(f"{keys.EPOCH}{camera_id}:{epoch:016x}")) or 0)

    async def persisted(self, camera_id: str, epoch: int, sequences: Sequence[int]) -> list[int]:
        """Those of some frames of one epoch that are stored now."""
        pipeline = self._client.pipeline(transaction=False)
        for sequence in sequences:
            pipeline.exists(f"{keys.FRAME}{FrameId(camera_id, epoch, sequence)}")
        found = await pipeline.execute()
        return [sequence for sequence, exists in zip(sequences, found, strict=True) if exists]

    # --- what the detector says ---

    async def put_detections(
        self, frame_id: FrameId, result: DetectionResult, activity: float | None = None
    ) -> bool:
        """Store the detector's result and take the frame off the queue; False when the frame has an
        outcome already or is gone.

        The same step writes the feed's entry that tells of it, at once or when it is the frame's
        turn (`finish` in `slimcloud.store.scripts`). Ingest reads it
        (`slimcloud.ingest.event_relay.EventRelay`) and acknowledges DETECTED to the camera; the
        same holds for what `set_dropped` and `set_failed` store, and Nacks.
        """
        label_scores: dict[str, float] = {}
        for detection in result.detections:
            best = label_scores.get(detection.label, 0.0)
            label_scores[detection.label] = max(best, detection.score)
        stored = await _PUT_DETECTIONS(
            self._client,
            id=str(frame_id),
            document=result.to_json(),
            label_scores=json.dumps(label_scores, separators=(",", ":")),
            triage=result.triage,
            presence="" if result.presence is None else result.presence,
            activity="" if activity is None else activity,
            waited_us=round(1e6 * (result.queue_seconds + result.compute_seconds)),
            cost_us=round(1e6 * result.compute_seconds / result.batch_size),
            detected_us=result.detected_time_unix_us,
            now_us=self.clock(),
        )
        return bool(stored)

    async def get_detections(self, frame_id: FrameId) -> DetectionResult | None:
        """The detector's result; None while there is none. Raises as `get_frame`."""
        document = await self._client.get(f"{keys.DETECTIONS}{frame_id}")
        if document is None:
            await self.get_frame(frame_id)
            return None
        return DetectionResult.from_json(document)

    async def load_results(
        self, frame_ids: Sequence[FrameId]
    ) -> list[tuple[StoredFrame, DetectionResult] | None]:
        """Frames with what the detector saw, in one round trip; None for those that are gone."""
        pipeline = self._client.pipeline(transaction=False)
        for frame_id in frame_ids:
            pipeline.hmget(f"{keys.FRAME}{frame_id}", StoredFrame.names())
            pipeline.get(f"{keys.DETECTIONS}{frame_id}")
        replies = iter(await pipeline.execute())
        loaded: list[tuple[StoredFrame, DetectionResult] | None] = []
        for frame_id, values, document in zip(frame_ids, replies, replies, strict=True):
            frame = StoredFrame.read(frame_id, values)
            if frame is None or document is None:
                loaded.append(None)
            else:
                loaded.append((frame, DetectionResult.from_json(document)))
        return loaded

    async def set_dropped(self, frame_id: FrameId, reason: str) -> bool:
        """Leave a frame undetected and take it off the queue; False as for `set_failed`."""
        return await self._set_outcome(frame_id, FrameState.DROPPED, reason)

    async def set_failed(self, frame_id: FrameId, reason: str) -> bool:
        """Note that a frame cannot be detected and take it off the queue; False when it has an
        outcome already or is gone.
        """
        return await self._set_outcome(frame_id, FrameState.FAILED, reason)

    async def drop_expired(self) -> int:
        """Drop the live frames whose deadline passed before any worker took them; how many.

        Workers drop what has expired when they take it. A queue that nobody takes from must not
        fill up with frames that nobody wants any more.
        """
        now_us, total = self.clock(), 0
        for camera_id in await self.work.waiting_cameras():
            first, looked_at = 0, MAX_LOOKED_AT
            while looked_at == MAX_LOOKED_AT:
                looked_at, expired = await self.work.expired(camera_id, first, now_us)
                dropped = 0
                for frame_id, stored_us in expired:
                    reason = StoredFrame.reason_of_wait(now_us - stored_us)
                    dropped += await self.set_dropped(frame_id, reason)
                first += looked_at - dropped
                total += dropped
        return total

    # --- what a person asks of the detector ---

    async def request_detection(self, frame_id: FrameId) -> bool:
        """Have a frame that was dropped or has failed detected before all that is live; False when
        it is waiting or detected. Its dead letter is taken back.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame is not stored.
            StoreFullError: too many such requests wait.
        """
        requested = await _REQUEST(
            self._client, id=str(frame_id), max_queue_size=self._max_queue_size
        )
        if requested == -2:
            raise StoreFullError(f"{self._max_queue_size} requests wait for the detector already")
        if requested == -1:
            raise await self._absent(frame_id)
        return bool(requested)

    async def cancel_detection(self, frame_id: FrameId) -> bool:
        """Take such a request back; False when there is none that waits.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame is not stored.
        """
        await self.get_frame(frame_id)
        requested = await self._client.hget(f"{keys.FRAME}{frame_id}", "requested")
        return requested is not None and await self.set_dropped(
            frame_id, "the request to detect it was taken back"
        )

    # --- enhancements ---

    async def put_enhancement(
        self,
        frame_id: FrameId,
        container: bytes,
        request_id: str = "",
        *,
        level: int = MAX_LEVELS - 1,
        quality: float = 0.0,
    ) -> bool:
        """Store the enhancement of a frame and answer its request; False when one that reaches as
        far was there already. Else it takes the place of that.

        Args:
            level, quality: what it lifts the frame to.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame that it enhances is not stored.
            StoreFullError: Redis is out of memory.
        """
        with full_memory_is_store_full():
            stored = await _PUT_ENHANCEMENT(
                self._client,
                id=str(frame_id),
                container=container,
                request_id=request_id,
                level=level,
                quality=quality,
                now_us=self._clock_unix_us(),
            )
        if stored == -1:
            raise await self._absent(frame_id)
        await self.refetches.set_done(frame_id, request_id, level, quality)
        return bool(stored == 1)

    async def get_enhancement(self, frame_id: FrameId) -> bytes | None:
        """The enhancement container of a frame; None when there is none."""
        container = await self._client.get(f"{keys.ENHANCEMENT}{frame_id}")
        return container if isinstance(container, bytes) else None

    # --- counters and records ---

    async def totals(self) -> StoreTotals:
        counted = fields_of(await self._client.hgetall(keys.TOTALS))
        return StoreTotals(**{f.name: int(counted.get(f.name, 0)) for f in fields(StoreTotals)})

    async def _find(self, frame_id: FrameId) -> StoredFrame | None:
        values = await self._client.hmget(f"{keys.FRAME}{frame_id}", StoredFrame.names())
        return StoredFrame.read(frame_id, values)

    async def _set_outcome(self, frame_id: FrameId, state: FrameState, reason: str) -> bool:
        stored = await _SET_OUTCOME(self._client, id=str(frame_id), state=state, reason=reason)
        return bool(stored)

    async def _absent(self, frame_id: FrameId) -> FrameNotFoundError | FrameGoneError:
        # Gaps count as gone too: a sequence below the highest one was stored or was refused long
        # ago.
        if frame_id.sequence <= await self.highest_sequence(frame_id.camera_id, frame_id.epoch):
            return FrameGoneError(frame_id)
        return FrameNotFoundError(frame_id)
