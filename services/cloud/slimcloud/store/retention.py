"""Removes frames that are too old, and the oldest ones when too many bytes are held.

Oldest means stored first, whatever the cameras' clocks say. Any number of processes may sweep at
once.
"""

from collections.abc import Callable

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.replies import text
from slimcloud.store.scripts import Script

_STEP = 200  # frames per round trip

# Returns 1 removed; 0, and nothing is removed: no more than `max_bytes` are held.
_REMOVE_FRAME = Script(
    """
local stored = tonumber(redis.call('HGET', TOTALS, 'stored_bytes') or '0')
if stored <= tonumber(max_bytes) then return 0 end
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
return 1
""",
    "id max_bytes",
)


class Retention:
    def __init__(
        self,
        client: Redis,
        retention_seconds: int,
        max_stored_bytes: int,
        clock: Callable[[], int],
    ) -> None:
        self._client = client
        self._retention_us = retention_seconds * 1_000_000
        self._max_stored_bytes = max_stored_bytes
        self._clock = clock

    async def sweep(self) -> int:
        """Remove what may not stay; gives the number of frames removed."""
        removed = 0
        horizon_us = self._clock() - self._retention_us
        while old := await self._client.zrangebyscore(
            keys.INDEX_RECEIVED, "-inf", f"({horizon_us}", start=0, num=_STEP
        ):
            for member in old:
                await self.remove(FrameId.parse(text(member)))
            removed += len(old)
        while oldest := await self._client.zrange(keys.INDEX_RECEIVED, 0, _STEP - 1):
            for member in oldest:
                frame_id = FrameId.parse(text(member))
                if not await self.remove(frame_id, max_bytes=self._max_stored_bytes):
                    return removed
                removed += 1
        return removed

    async def remove(self, frame_id: FrameId, *, max_bytes: int = -1) -> bool:
        """Remove one frame and all that hangs on it.

        One that waits for the detector leaves the queue, and its camera is told. False, and
        nothing is removed, when no more than `max_bytes` are held: another process may have made
        room.
        """
        return bool(await _REMOVE_FRAME(self._client, id=str(frame_id), max_bytes=max_bytes))
