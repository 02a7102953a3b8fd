"""Removes frames that are too old, and the oldest ones when too many bytes are held.

Oldest means stored first, whatever the cameras' clocks say. Any number of processes may sweep at
once.
"""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys, scripts
from slimcloud.store.replies import text

_STEP = 200  # frames per round trip
_DROPPED = "retention removed it before it was detected"


class Retention:
    def __init__(
        self,
        client: Redis,
        retention_seconds: int,
        max_stored_bytes: int,
        clock_unix_us: Callable[[], int],
    ) -> None:
        self._client = client
        self._retention_us = retention_seconds * 1_000_000
        self._max_stored_bytes = max_stored_bytes
        self._clock_unix_us = clock_unix_us
        self._remove = scripts.REMOVE_FRAME.on(client)

    async def sweep(self) -> int:
        """Remove what may not stay; gives the number of frames removed."""
        removed = 0
        horizon_us = self._clock_unix_us() - self._retention_us
        while old := await self._client.zrangebyscore(
            keys.INDEX_RECEIVED, "-inf", f"({horizon_us}", start=0, num=_STEP
        ):
            for member in old:
                await self.remove(FrameId.parse(text(member)))
            removed += len(old)
        while await self._stored_bytes() > self._max_stored_bytes:
            oldest = await self._client.zrange(keys.INDEX_RECEIVED, 0, _STEP - 1)
            if not oldest:
                break
            for member in oldest:
                frame_id = FrameId.parse(text(member))
                if await self._remove_frame(frame_id, self._max_stored_bytes) is None:
                    break
                removed += 1
        return removed

    async def remove(self, frame_id: FrameId) -> int:
        """Remove one frame and all that hangs on it; gives the bytes that it held.

        One that waits for the detector leaves the queue, and its camera is told.
        """
        return await self._remove_frame(frame_id, None) or 0

    async def _remove_frame(self, frame_id: FrameId, max_bytes: int | None) -> int | None:
        """As `remove`; None, and nothing is removed, when `max_bytes` or less are held: another
        process may have made room meanwhile.
        """
        gave = await self._remove(
            frame=keys.frame_key(frame_id),
            enhancement=keys.enhancement_key(frame_id),
            detections=keys.detections_key(frame_id),
            reviews_of_frame=keys.reviews_of_key(frame_id),
            index_all=keys.INDEX_ALL,
            index_camera=keys.index_camera_key(frame_id.camera_id),
            index_received=keys.INDEX_RECEIVED,
            sizes=keys.SIZES,
            totals=keys.TOTALS,
            awaiting=keys.AWAITING,
            id=str(frame_id),
            reason=_DROPPED,
            max_bytes="" if max_bytes is None else max_bytes,
        )
        return None if gave == -1 else int(gave)

    async def _stored_bytes(self) -> int:
        return int(text(await self._client.hget(keys.TOTALS, "stored_bytes")) or 0)
