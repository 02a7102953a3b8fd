"""Frames in which triage saw something, and which wait for their enhancement.

    detect  park ──► slim:awaiting ──┬─ the enhancement is stored ─┐
                     by deadline     ├─ the camera refuses ────────┼──► slim:work, detected at once
                                     └─ the deadline passes ───────┘

A frame is on the work queue or here, never on neither: each step is one script. Whoever wakes it,
and however often, it goes back to the queue once, to the live lane: it has waited long enough.
Nothing is held in a process, so a worker that dies loses no frame.
"""

from __future__ import annotations

from enum import Enum

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.replies import text
from slimcloud.store.work import scripts as work_scripts
from slimcloud.store.work.queue import WorkItem

_MAX_WOKEN = 100  # frames at a time


class Parked(Enum):
    """What became of the wish to let a frame wait."""

    YES = 1
    FULL = 0  # too many wait: detect it from what is there
    SETTLED = -1  # it has an outcome already, or is gone


class AwaitingFrames:
    """
    Args:
        max_frames: that may wait at the same time, of all cameras.
    """

    def __init__(self, client: Redis, max_frames: int) -> None:
        self._client = client
        self._max_frames = max_frames
        self._park = work_scripts.PARK.on(client)
        self._wake = work_scripts.WAKE.on(client)

    async def park(
        self, item: WorkItem, *, presence: float, level: int, until_unix_us: int
    ) -> Parked:
        """Take a frame off the work queue until its enhancement up to `level` is stored, its camera
        refuses, or the cloud's clock says `until_unix_us`.
        """
        parked = await self._park(
            frame=keys.frame_key(item.frame_id),
            awaiting=keys.AWAITING,
            live=keys.WORK,
            id=str(item.frame_id),
            presence=presence,
            deadline=until_unix_us,
            level=level,
            max_frames=self._max_frames,
        )
        return Parked(parked)

    async def wake(self, frame_id: FrameId) -> bool:
        """Put a frame back on the work queue; False when it did not wait."""
        woken = await self._wake(awaiting=keys.AWAITING, live=keys.WORK, id=str(frame_id))
        return bool(woken == 1)

    async def wake_overdue(self, now_unix_us: int) -> int:
        """Put the frames whose deadline has passed back on the work queue; how many."""
        overdue = await self._client.zrangebyscore(
            keys.AWAITING, "-inf", now_unix_us, start=0, num=_MAX_WOKEN
        )
        return sum([await self.wake(FrameId.parse(text(member))) for member in overdue])

    async def count(self) -> int:
        """Frames that wait now."""
        return int(await self._client.zcard(keys.AWAITING))
