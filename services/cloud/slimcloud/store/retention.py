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

_REMOVE = Script(__file__, "remove")
_SWEEP = Script(__file__, "sweep")


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
        await _REMOVE(self.client, id=str(frame_id))
