"""Removes frames that are too old, and those of the camera that holds most when too many bytes are
held: so none takes the place of another that holds less.

A frame may need another. An intra frame and all that descend from it are a tree, which is as old as
the newest of them and goes as a whole, those that are needed last. While it does nothing may refer
to it any more.

Age is by the store's clock; a camera's first frames are the first captured. Any number of processes
may sweep at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store.scripts import Script

# What Redis takes for a frame beside its containers and its result, where its hash is packed: see
# `hash-max-ziplist-value` in `slimops.storage.embedded_redis`. 1,310 to 1,510 measured.
FRAME_BYTES = 1400

_STEP = 50  # frames per round trip; Redis serves nobody else meanwhile

_REMOVE = Script(__file__, "remove_tree")
_SWEEP = Script(__file__, "sweep")


@dataclass(frozen=True, eq=False)
class Retention:
    client: Redis
    retention_seconds: int
    max_stored_bytes: int  # of containers and results, and `frame_bytes` for each frame
    frame_bytes: int
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
                    frame_bytes=self.frame_bytes,
                    max_count=_STEP,
                )
            )
            removed += step
        return removed

    async def remove(self, frame_id: FrameId) -> None:
        """Remove the tree of a frame and all that hangs on it. What waits for the detector leaves
        the queue, and its camera is told.
        """
        await _REMOVE(self.client, id=str(frame_id))
