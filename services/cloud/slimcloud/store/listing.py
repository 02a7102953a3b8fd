"""Frames by capture time: pages, newest first, and how many there are when.

A cursor names the last frame that was looked at, `capture time:frame id` in base64. Labels and
scores are not indexed: frames are looked at in order, at most `_MAX_LOOKED_AT` a page, so a page
may be short and still go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from redis.asyncio import Redis

from slimcloud.errors import InvalidCursorError, InvalidFrameIdError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.cursor import cursor_of, position_of
from slimcloud.store.records import ReviewMark, StoredFrame
from slimcloud.store.replies import scored_members

_MAX_LOOKED_AT = 2000  # frames per page: bounds the work that one call can ask for
_STEP = 100  # frames per round trip

_Position = tuple[int, str]  # capture time in microseconds, frame id


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


@dataclass(frozen=True, slots=True)
class FramePage:
    """Newest first.

    A page may be short, even empty, and still have a `next_cursor`: go on until it is None.
    """

    frames: Sequence[StoredFrame]
    next_cursor: str | None


class FrameIndex:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def page(
        self, wanted: FrameFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> FramePage:
        """The next page of at most `limit` (1 or more) frames.

        Raises:
            InvalidCursorError: `cursor` is not a `next_cursor` of an earlier page.
        """
        wanted = wanted or FrameFilter()
        position = _parse_cursor(cursor) if cursor else None
        frames: list[StoredFrame] = []
        looked_at = 0
        while looked_at < _MAX_LOOKED_AT:
            members = await self._step(wanted, position)
            if not members:
                return FramePage(frames, None)
            pipeline = self._client.pipeline(transaction=False)
            for _, member in members:
                pipeline.hmget(f"{keys.FRAME}{member}", StoredFrame.names())
            for position, values in zip(members, await pipeline.execute(), strict=True):
                looked_at += 1
                frame = StoredFrame.read(FrameId.parse(position[1]), values)
                if frame is not None and wanted.matches(frame):
                    frames.append(frame)
                if len(frames) == limit:
                    return FramePage(frames, _cursor(position))
        assert position is not None
        return FramePage(frames, _cursor(position))

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
        span = to_unix_us - from_unix_us
        edges = [from_unix_us + span * i // buckets for i in range(buckets + 1)]
        pipeline = self._client.pipeline(transaction=False)
        for begin, end in pairwise(edges):
            pipeline.zcount(keys.index_of(camera_id), begin, f"({end}")
        return [int(count) for count in await pipeline.execute()]

    async def _step(self, wanted: FrameFilter, after: _Position | None) -> list[_Position]:
        """The next few members of the index after a position, newest first; empty at the end."""
        oldest = "-inf" if wanted.from_unix_us is None else str(wanted.from_unix_us)
        newest = "+inf" if wanted.to_unix_us is None else f"({wanted.to_unix_us}"
        if after is not None and (wanted.to_unix_us is None or after[0] < wanted.to_unix_us):
            newest = str(after[0])
        offset = 0
        while True:
            reply = await self._client.zrevrangebyscore(
                keys.index_of(wanted.camera_id),
                newest,
                oldest,
                start=offset,
                num=_STEP,
                withscores=True,
            )
            pairs = scored_members(reply)
            # Equal times are ordered by name, also descending: what is not below the position was
            # given out before.
            fresh = [pair for pair in pairs if after is None or pair < after]
            if fresh or len(pairs) < _STEP:
                return fresh
            offset += len(pairs)


def _cursor(position: _Position) -> str:
    return cursor_of(f"{position[0]}:{position[1]}")


def _parse_cursor(cursor: str) -> _Position:
    time_us, _, member = position_of(cursor).partition(":")
    try:
        return int(time_us), str(FrameId.parse(member))
    except (ValueError, InvalidFrameIdError) as exc:
        raise InvalidCursorError(cursor) from exc
