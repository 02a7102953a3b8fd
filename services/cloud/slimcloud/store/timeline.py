"""How many frames there are when: counted in the time index, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.replies import scored_members


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Frames per bucket of equal length; bucket i begins at from + i * (to - from) / buckets."""

    from_unix_us: int  # capture time, inclusive
    to_unix_us: int  # capture time, exclusive
    frames: Sequence[int]


class Timeline:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def span(self, camera_id: str | None = None) -> tuple[int, int] | None:
        """Capture times of the first and the last stored frame; None when there is none."""
        index = _index(camera_id)
        first = scored_members(await self._client.zrange(index, 0, 0, withscores=True))
        last = scored_members(await self._client.zrevrange(index, 0, 0, withscores=True))
        return (first[0][0], last[0][0]) if first and last else None

    async def count(
        self, from_unix_us: int, to_unix_us: int, buckets: int, camera_id: str | None = None
    ) -> FrameCounts:
        """Frames in `buckets` (1 or more) parts of a span of at least one microsecond each."""
        span = to_unix_us - from_unix_us
        edges = [from_unix_us + span * i // buckets for i in range(buckets + 1)]
        pipeline = self._client.pipeline(transaction=False)
        for begin, end in zip(edges, edges[1:], strict=False):
            pipeline.zcount(_index(camera_id), begin, f"({end}")
        counts = await pipeline.execute()
        return FrameCounts(from_unix_us, to_unix_us, [int(count) for count in counts])


def _index(camera_id: str | None) -> str:
    return keys.index_camera_key(camera_id) if camera_id else keys.INDEX_ALL
