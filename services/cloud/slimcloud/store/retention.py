"""Removes frames that are too old, and those of the camera that holds most when too many bytes are
held: so none takes the place of another that holds less.

Age is by the store's clock; a camera's first frames are the first captured. Any number of processes
may sweep at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store.scripts import Script

_STEP = 50  # frames per round trip; Redis serves nobody else meanwhile

_REMOVE = """
local function remove(id)
  local is_first = redis.call('ZREM', INDEX_RECEIVED, id) == 1  -- before all: it needs no memory
  local held = tonumber(redis.call('HGET', SIZES, id) or '0')
  finish(id, 'dropped', 'reason', 'retention removed it before it was detected')
  leave(id)  -- while its hash is there: its outcome may not have been told yet
  redis.call('DEL', FRAME .. id, ENHANCEMENT .. id, DETECTIONS .. id, REVIEWS_OF .. id)
  redis.call('ZREM', INDEX_ALL, id)
  redis.call('ZREM', INDEX_CAMERA .. camera_of(id), id)
  if is_first then redis.call('HINCRBY', TOTALS, 'removed', 1) end
  redis.call('HDEL', SIZES, id)
  hold(camera_of(id), -held)
end
"""
_REMOVE_FRAME = Script(_REMOVE + "remove(id)", "id")

# Returns how many were removed.
_SWEEP = Script(
    _REMOVE
    + """
local function too_old()
  return redis.call('ZRANGEBYSCORE', INDEX_RECEIVED, '-inf', '(' .. horizon_us, 'LIMIT', 0, 1)[1]
end

local function too_much()
  if tonumber(redis.call('HGET', TOTALS, 'stored_bytes') or '0') <= tonumber(max_bytes) then
    return nil
  end
  local largest = redis.call('ZREVRANGE', SHARES, 0, 0)[1]
  local id = largest and redis.call('ZRANGE', INDEX_CAMERA .. largest, 0, 0)[1]
  if largest and not id then redis.call('ZREM', SHARES, largest) end
  return id or redis.call('ZRANGE', INDEX_RECEIVED, 0, 0)[1]  -- an older build counted no shares
end

for removed = 0, max_count - 1 do
  local id = too_old() or too_much()
  if not id then return removed end
  remove(id)
end
return max_count
""",
    "horizon_us max_bytes max_count",
)


@dataclass(frozen=True, eq=False)
class Retention:
    client: Redis
    retention_seconds: int
    max_stored_bytes: int
    clock: Callable[[], int]

    async def sweep(self) -> int:
        """Remove what may not stay; gives the number of frames removed."""
        removed, step = 0, _STEP
        while step == _STEP:
            step = int(
                await _SWEEP(
                    self.client,
                    horizon_us=self.clock() - 1_000_000 * self.retention_seconds,
                    max_bytes=self.max_stored_bytes,
                    max_count=_STEP,
                )
            )
            removed += step
        return removed

    async def remove(self, frame_id: FrameId) -> None:
        """Remove one frame and all that hangs on it. One that waits for the detector leaves the
        queue, and its camera is told.
        """
        await _REMOVE_FRAME(self.client, id=str(frame_id))
