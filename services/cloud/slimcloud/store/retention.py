"""Removes frames that are too old, and the oldest ones when too many bytes are held.

Oldest means stored first, whatever the cameras' clocks say. Any number of processes may sweep at
once.
"""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.replies import text
from slimcloud.store.scripts import Script

_STEP = 200  # frames per round trip

# `max_bytes` may stay (or empty). Returns the bytes that it gave back; -1: no more than may stay
# are held, and nothing is removed.
_REMOVE_FRAME = Script(
    """
local stored = tonumber(redis.call('HGET', TOTALS, 'stored_bytes') or '0')
if max_bytes ~= '' and stored <= tonumber(max_bytes) then return -1 end
local is_first = redis.call('ZREM', INDEX_RECEIVED, id) == 1  -- before all: it needs no memory
local held = tonumber(redis.call('HGET', SIZES, id) or '0')
finish(id, 'dropped', 'reason', 'retention removed it before it was detected')
leave(id)  -- while its hash is there: its outcome may not have been told yet
redis.call('DEL', FRAME .. id, ENHANCEMENT .. id, DETECTIONS .. id, REVIEWS_OF .. id)
redis.call('ZREM', INDEX_ALL, id)
redis.call('ZREM', INDEX_CAMERA .. camera_of(id), id)
if is_first then redis.call('HINCRBY', TOTALS, 'removed', 1) end
redis.call('HDEL', SIZES, id)
if held > 0 then redis.call('HINCRBY', TOTALS, 'stored_bytes', -held) end  -- never "-0"
return held
""",
    "id max_bytes",
)


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
        gave = await _REMOVE_FRAME(
            self._client, id=str(frame_id), max_bytes="" if max_bytes is None else max_bytes
        )
        return None if gave == -1 else int(gave)

    async def _stored_bytes(self) -> int:
        return int(text(await self._client.hget(keys.TOTALS, "stored_bytes")) or 0)
