"""Frames by capture time: pages, newest first, and how many there are when.

A cursor names the last frame that was looked at, `capture time:frame id`. Labels and scores are not
indexed.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise

from redis.asyncio import Redis

from slimcloud.errors import InvalidCursorError, InvalidFrameIdError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.page import Page, page_of
from slimcloud.store.records import ReviewMark, StoredFrame
from slimcloud.store.replies import scored_members, text
from slimcloud.store.scripts import Script

_STEP = 100  # frames per round trip
_SAMPLES = 8  # frames of each part of a span whose activity is looked at

_ACTIVITY = Script(__file__, "activity")

Position = tuple[int, str]  # in an index by time: microseconds, name


@dataclass(frozen=True, slots=True)
class FrameFilter:
    """Which frames to list; every condition that is set must hold."""

    camera_id: str | None = None
    from_unix_us: int | None = None  # capture time, inclusive
    to_unix_us: int | None = None  # capture time, exclusive
    label: str | None = None  # a detection with this label
    min_score: float | None = None  # a detection (of `label`, when set) of at least this score
    mark: ReviewMark | None = None

    def matches(self, frame: StoredFrame) -> bool:
        """Whether what is not in the index holds for a frame."""
        if self.mark not in (None, frame.mark):
            return False
        if self.label is None and self.min_score is None:
            return True
        return any(
            self.label in (None, label) and score >= (self.min_score or 0.0)
            for label, score in frame.label_scores.items()
        )


class FrameIndex:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def page(
        self, wanted: FrameFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[StoredFrame]:
        """The next page of at most `limit` (1 or more) frames.

        Raises:
            InvalidCursorError: `cursor` is not a `next_cursor` of an earlier page.
        """
        wanted = wanted or FrameFilter()
        after = position_of(cursor, FrameId.parse) if cursor else None
        return await page_of(self._frames(wanted, after), wanted.matches, limit)

    async def span(self, camera_id: str | None = None) -> tuple[int, int] | None:
        """Capture times of the first and the last stored frame; None when there is none."""
        index = keys.index_of(camera_id)
        first = scored_members(await self._client.zrange(index, 0, 0, withscores=True))
        last = scored_members(await self._client.zrevrange(index, 0, 0, withscores=True))
        return (first[0][0], last[0][0]) if first and last else None

    async def count(
        self, from_unix_us: int, to_unix_us: int, buckets: int, camera_id: str | None = None
    ) -> list[int]:
        """Frames in each of `buckets` (1 or more) equal parts of a span of capture times.

        Args:
            from_unix_us: inclusive.
            to_unix_us: exclusive; at least a microsecond for each part.
        """
        edges = _edges(from_unix_us, to_unix_us, buckets)
        pipeline = self._client.pipeline(transaction=False)
        for begin, end in pairwise(edges):
            pipeline.zcount(keys.index_of(camera_id), begin, f"({end}")
        return [int(count) for count in await pipeline.execute()]

    async def activity(
        self, from_unix_us: int, to_unix_us: int, buckets: int, camera_id: str | None = None
    ) -> list[float | None]:
        """The share that changed in frames of each part of a span, 0 to 1: the mean of some of
        them; None where of none it is known. Arguments as of `count`.
        """
        edges = _edges(from_unix_us, to_unix_us, buckets)
        index = keys.index_of(camera_id)
        means = await _ACTIVITY(self._client, *edges, index=index, samples=_SAMPLES)
        return [float(mean) if mean else None for mean in means]

    async def spread(
        self, camera_id: str, from_unix_us: int, to_unix_us: int, count: int
    ) -> list[StoredFrame]:
        """Up to `count` (2 or more) frames of one camera, spread over a span that ends before
        `to_unix_us`, oldest first.
        """
        index = keys.index_of(camera_id)
        first = await self._client.zcount(index, "-inf", f"({from_unix_us}")
        last = first + await self._client.zcount(index, from_unix_us, f"({to_unix_us}") - 1
        ranks = sorted({first + (last - first) * i // (count - 1) for i in range(count)})
        pipeline = self._client.pipeline(transaction=False)
        for rank in ranks if last >= first else ():
            pipeline.zrange(index, rank, rank)
        names = [FrameId.parse(text(name)) for reply in await pipeline.execute() for name in reply]
        for frame_id in names:
            pipeline.hmget(f"{keys.FRAME}{frame_id}", StoredFrame.names())
        found = zip(names, await pipeline.execute(), strict=True)
        frames = [StoredFrame.read(frame_id, values) for frame_id, values in found]
        return [frame for frame in frames if frame is not None]

    async def _frames(
        self, wanted: FrameFilter, after: Position | None
    ) -> AsyncIterator[tuple[str, StoredFrame]]:
        """The frames after a position of the index, newest first."""
        index = keys.index_of(wanted.camera_id)
        async for positions in newest_first(
            self._client, index, wanted.from_unix_us, wanted.to_unix_us, after
        ):
            pipeline = self._client.pipeline(transaction=False)
            for _, member in positions:
                pipeline.hmget(f"{keys.FRAME}{member}", StoredFrame.names())
            for (time_us, member), values in zip(positions, await pipeline.execute(), strict=True):
                frame = StoredFrame.read(FrameId.parse(member), values)
                if frame is not None:
                    yield f"{time_us}:{member}", frame


async def newest_first(
    client: Redis, index: str, from_us: int | None, to_us: int | None, after: Position | None
) -> AsyncIterator[list[Position]]:
    """The positions of an index by time, newest first, some at a time.

    Args:
        from_us: microseconds, inclusive; None: from the first.
        to_us: exclusive; None: to the last.
        after: from this one on, which was given out before.
    """
    oldest = "-inf" if from_us is None else str(from_us)
    newest = "+inf" if to_us is None else f"({to_us}"
    if after is not None and (to_us is None or after[0] < to_us):
        newest = str(after[0])
    offset = 0
    while positions := scored_members(
        await client.zrevrangebyscore(
            index, newest, oldest, start=offset, num=_STEP, withscores=True
        )
    ):
        # Equal times are ordered by name, also descending: what is not below the position was
        # given out before.
        fresh = [position for position in positions if after is None or position < after]
        if fresh:
            yield fresh
            after, newest, offset = fresh[-1], str(fresh[-1][0]), 0
        else:
            offset += len(positions)


def position_of(cursor: str, parse: Callable[[str], object]) -> Position:
    """What a cursor names.

    Args:
        parse: a name; raises `InvalidFrameIdError` where it is none.

    Raises:
        InvalidCursorError: it is no cursor.
    """
    time_us, _, name = cursor.partition(":")
    try:
        return int(time_us), str(parse(name))
    except (ValueError, InvalidFrameIdError) as exc:
        raise InvalidCursorError(cursor) from exc


def _edges(from_unix_us: int, to_unix_us: int, buckets: int) -> list[int]:
    span = to_unix_us - from_unix_us
    return [from_unix_us + span * i // buckets for i in range(buckets + 1)]
