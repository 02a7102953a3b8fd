"""The queue of frames that wait for the detector: a Redis stream and consumer group for each lane.

    review    slim:work:review      a person asks for it       ─┐
    live      slim:work                                         ├─► take: review before live
    backfill  slim:work:backfill    what a camera sent late    ─┘   before backfill

Within a lane cameras take turns by the pixels of their frames over their weights (`scripts`): one
that sends much, or what costs much, stands in its own line. While results are late, cameras are
granted shares.

An entry is deleted when it is done, so a stream's length is the work that is outstanding. A worker
that dies leaves its entries pending; `reclaim` hands them to another after `min_idle_seconds`. An
entry that was handed out more than `max_deliveries` times has killed its workers: it goes to the
dead letters.

A frame in which triage saw something waits for its enhancement beside the queue:

    detect  park ──► slim:awaiting ──┬─ the enhancement is stored ─┐
                     by deadline     ├─ the camera refuses ────────┼──► slim:work, detected at once
                                     └─ the deadline passes ───────┘

It is on the queue or there, never on neither: each step is one script. Whoever wakes it, and
however often, it goes back once.

Outcomes of one camera's live frames are told in the order in which the frames were taken, by
whichever workers: see `scripts`. A frame that is tried again has lost its place.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.typing import KeyT, StreamIdT

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.records import FrameState, Lane
from slimcloud.store.replies import stream_entries, text
from slimcloud.store.scripts import Script

_TAKE = Script(__file__, "take")
_LINE_UP = Script(__file__, "line_up_new")
_EXPIRED = Script(__file__, "expired")
_LEAVE = Script(__file__, "leave")
_FAIL_TRY = Script(__file__, "fail_try")
_RELEASE = Script(__file__, "release_held")
_DEAD_LETTER = Script(__file__, "dead_letter")
_PARK = Script(__file__, "park")
_WAKE = Script(__file__, "wake")

_MAX_ERROR_CHARACTERS = 300
_MAX_WOKEN = 100  # frames at a time
MAX_LOOKED_AT = 100  # frames in one call, for what has expired

LANE_KEYS = {
    Lane.REVIEW: keys.WORK_REVIEW,
    Lane.LIVE: keys.WORK,
    Lane.BACKFILL: keys.WORK_BACKFILL,
}


@dataclass(frozen=True, slots=True)
class WorkItem:
    entry_id: str  # within its lane
    frame_id: FrameId
    deliveries: int = field(compare=False)  # 1 = handed out for the first time
    lane: Lane = Lane.LIVE


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame that was given up."""

    frame_id: FrameId
    reason: str
    deliveries: int
    time_unix_us: int  # when, by Redis' clock


class Parked(Enum):
    """What became of the wish to let a frame wait."""

    YES = 1
    FULL = 0  # too many wait: detect it from what is there
    SETTLED = -1  # it has an outcome already, or is gone


class WorkQueue:
    """
    Args:
        max_parked: frames of all cameras that may wait for their enhancement at the same time.
    """

    def __init__(self, client: Redis, max_parked: int = 1000) -> None:
        self._client = client
        self._max_parked = max_parked
        self._newest: dict[KeyT, StreamIdT] = {}  # entry of each lane, at the last `take`

    async def prepare(self) -> None:
        """Make the consumer groups, where they are not there."""
        for lane_key in LANE_KEYS.values():
            try:
                await self._client.xgroup_create(lane_key, keys.DETECT_GROUP, id="0", mkstream=True)
            except ResponseError as exc:
                if "BUSYGROUP" not in str(exc):
                    raise
        await self.line_up()

    async def line_up(self) -> None:
        """Give a place in line to frames that an ingest of an older build has queued."""
        for lane_key in LANE_KEYS.values():
            await _LINE_UP(self._client, lane=lane_key)

    # --- taking ---

    async def take(
        self, consumer: str, *, count: int, backfill_count: int | None = None
    ) -> list[WorkItem]:
        """Up to `count` new entries at once, the most urgent lane first; each camera's in order,
        and cameras by turns.

        Args:
            backfill_count: of these at most so many of the last lane; None = no limit of its own.
        """
        backfill_count = count if backfill_count is None else backfill_count
        try:
            taken, newest = await _TAKE(
                self._client, consumer=consumer, max_count=count, backfill_count=backfill_count
            )
        except ResponseError as exc:
            if "NOGROUP" not in str(exc):
                raise
            await self.prepare()  # Redis has come back empty
            return await self.take(consumer, count=count, backfill_count=backfill_count)
        self._newest = dict(zip(LANE_KEYS.values(), map(text, newest), strict=True))
        return [
            WorkItem(text(entry_id), FrameId.parse(text(frame_id)), 1, tuple(Lane)[number - 1])
            for number, entry_id, frame_id in taken
        ]

    async def wait(self, seconds: float) -> None:
        """Return when there is something newer than at the last `take`, which was before, or after
        `seconds` (at most 2).
        """
        block_ms = max(1, min(2000, round(seconds * 1000)))
        await self._client.xread(self._newest, count=1, block=block_ms)

    async def reclaim(self, consumer: str, *, min_idle_seconds: float) -> WorkItem | None:
        """Take over an entry that its worker left alone for `min_idle_seconds`."""
        for lane, lane_key in LANE_KEYS.items():
            cursor = ""
            while cursor != "0-0":  # one call looks at ten entries and no further
                cursor, claimed, *_ = await self._client.xautoclaim(
                    lane_key,
                    keys.DETECT_GROUP,
                    consumer,
                    min_idle_time=round(min_idle_seconds * 1000),
                    start_id=cursor or "0-0",
                    count=1,
                )
                cursor = text(cursor)
                for entry_id, fields in stream_entries(claimed):
                    pending = await self._client.xpending_range(
                        lane_key, keys.DETECT_GROUP, min=entry_id, max=entry_id, count=1
                    )
                    deliveries = int(pending[0]["times_delivered"]) if pending else 1
                    return WorkItem(entry_id, FrameId.parse(fields["frame_id"]), deliveries, lane)
        return None

    async def keep(self, item: WorkItem, consumer: str) -> None:
        """What `reclaim` gave was the consumer's own, which works on it still: no new delivery."""
        await self._client.xclaim(
            LANE_KEYS[item.lane],
            keys.DETECT_GROUP,
            consumer,
            min_idle_time=0,
            message_ids=[item.entry_id],
            retrycount=item.deliveries - 1,
            justid=True,
        )

    async def wanted(self, items: Sequence[WorkItem]) -> list[bool]:
        """Whether each entry still stands for a frame without an outcome."""
        pipeline = self._client.pipeline(transaction=False)
        for item in items:
            pipeline.hmget(f"{keys.FRAME}{item.frame_id}", ["state", "work"])
        return [
            (text(state), text(work))
            == (FrameState.QUEUED.value, f"{LANE_KEYS[item.lane]} {item.entry_id}")
            for item, (state, work) in zip(items, await pipeline.execute(), strict=True)
        ]

    # --- ending ---

    async def done(self, item: WorkItem) -> None:
        """Take an entry off the queue whose outcome is stored, or whose frame is gone."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xack(LANE_KEYS[item.lane], keys.DETECT_GROUP, item.entry_id)
            pipeline.xdel(LANE_KEYS[item.lane], item.entry_id)
            await pipeline.execute()

    async def fail_try(self, item: WorkItem, error: str) -> None:
        """Note why a try failed; the entry stays, to be reclaimed."""
        await _FAIL_TRY(
            self._client, id=str(item.frame_id), error_text=error[:_MAX_ERROR_CHARACTERS]
        )

    async def leave_order(self, item: WorkItem) -> None:
        """Let the frames behind this one be told before it."""
        await _LEAVE(self._client, id=str(item.frame_id))

    async def release_held(self, max_wait_seconds: float) -> int:
        """Tell outcomes that have waited so long for that of an earlier frame; how many."""
        max_wait_ms = round(1000 * max_wait_seconds)
        return int(await _RELEASE(self._client, max_wait_ms=max_wait_ms))

    async def dead_letter(self, item: WorkItem) -> str:
        """Move an entry to the dead letters: its frame has failed. Gives the reason; empty when
        another worker was faster.
        """
        reason = await _DEAD_LETTER(
            self._client,
            lane=LANE_KEYS[item.lane],
            entry=item.entry_id,
            id=str(item.frame_id),
            deliveries=item.deliveries - 1,  # this one was not tried
        )
        return text(reason)

    async def retire(self, consumer: str) -> None:
        """Forget a consumer that stops and has nothing pending."""
        for lane_key in LANE_KEYS.values():
            with contextlib.suppress(ResponseError):
                mine = await self._client.xpending_range(
                    lane_key, keys.DETECT_GROUP, min="-", max="+", count=1, consumername=consumer
                )
                if not mine:  # deleting a consumer would delete its pending entries with it
                    await self._client.xgroup_delconsumer(lane_key, keys.DETECT_GROUP, consumer)

    # --- waiting for an enhancement ---

    async def park(self, item: WorkItem, *, presence: float, level: int, until_us: int) -> Parked:
        """Take a frame off the queue until its enhancement up to `level` is stored, its camera
        refuses, or the store's clock says `until_us`.
        """
        parked = await _PARK(
            self._client,
            id=str(item.frame_id),
            presence=presence,
            deadline=until_us,
            level=level,
            max_frames=self._max_parked,
        )
        return Parked(parked)

    async def wake(self, frame_id: FrameId) -> bool:
        """Put a frame back on the queue; False when it did not wait."""
        return bool(await _WAKE(self._client, id=str(frame_id)))

    async def wake_overdue(self, now_us: int) -> int:
        """Put the frames whose deadline has passed back on the queue; how many."""
        overdue = await self._client.zrangebyscore(
            keys.AWAITING, "-inf", now_us, start=0, num=_MAX_WOKEN
        )
        return sum([await self.wake(FrameId.parse(text(member))) for member in overdue])

    async def parked_count(self) -> int:
        """Frames that wait for their enhancement now."""
        return int(await self._client.zcard(keys.AWAITING))

    # --- looking ---

    async def outstanding(self, *lanes: Lane) -> int:
        """Entries that are waiting or being worked on, of these lanes; of all when none is said."""
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes or Lane:
            pipeline.xlen(LANE_KEYS[lane])
        return sum(await pipeline.execute())

    async def expired(
        self, camera_id: str, first: int, now_us: int
    ) -> tuple[int, list[tuple[FrameId, int]]]:
        """Look at live frames of a camera that no worker has taken, from the `first` on: at how
        many; those whose deadline has passed, with the store's time of storing, microseconds.
        """
        looked_at, found = await _EXPIRED(
            self._client, camera=camera_id, first=first, count=MAX_LOOKED_AT, now_us=now_us
        )
        return looked_at, [(FrameId.parse(text(name)), int(stored)) for name, stored in found]

    async def waiting_cameras(self) -> list[str]:
        """Cameras with live frames that no worker has taken."""
        waiting = await self._client.zrange(f"{keys.TURNS}{keys.WORK}", 0, -1)
        return [text(camera) for camera in waiting]

    async def untaken(self) -> dict[str, int]:
        """How many live frames no worker has taken, by camera; one without any is absent."""
        cameras = await self.waiting_cameras()
        pipeline = self._client.pipeline(transaction=False)
        for camera in cameras:
            pipeline.llen(f"{keys.LINE}{keys.WORK}:{camera}")
        return dict(zip(cameras, await pipeline.execute(), strict=True))

    async def granted(self, weights: Mapping[str, float] | None = None) -> int:
        """Pixels of pictures per second that a camera of weight 1 is granted while results are
        late; 0 = as many as it sends.

        Args:
            weights: of cameras; 1 where absent.
        """
        megapixels = float(await self._client.hget(keys.GRANT, "megapixels") or 0)
        if megapixels and weights:
            cameras = map(text, await self._client.zrange(keys.GRANTED, 0, -1))
            megapixels /= fmean([weights.get(camera, 1.0) for camera in cameras] or [1.0])
        return round(1e6 * megapixels)

    async def dead_letters(self, limit: int = keys.DEAD_LENGTH) -> list[DeadLetter]:
        """Frames that were given up, newest first."""
        entries = stream_entries(await self._client.xrevrange(keys.DEAD, count=limit))
        return [
            DeadLetter(
                FrameId.parse(fields["frame_id"]),
                fields["reason"],
                int(fields["deliveries"]),
                1000 * int(entry_id.partition("-")[0]),
            )
            for entry_id, fields in entries
        ]

    async def dead_count(self) -> int:
        """Dead letters that are kept."""
        return int(await self._client.xlen(keys.DEAD))
