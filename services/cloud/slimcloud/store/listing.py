"""Pages of frames, newest first, over the time indexes.

A cursor names the last frame that was looked at, `capture time:frame id` in base64. Labels and
scores are not indexed: frames are looked at in order, at most `_MAX_LOOKED_AT` a page, so a page
may be short and still go on.
"""

from __future__ import annotations

from redis.asyncio import Redis

from slimcloud.errors import InvalidCursorError, InvalidFrameIdError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.cursor import cursor_of, position_of
from slimcloud.store.records import FrameFilter
from slimcloud.store.replies import scored_members
from slimcloud.store.stored_frame import FramePage, StoredFrame

_MAX_LOOKED_AT = 2000  # frames per page: bounds the work that one call can ask for
_STEP = 100  # frames per round trip

_Position = tuple[int, str]  # capture time in microseconds, frame id


async def list_frames(
    client: Redis, wanted: FrameFilter, limit: int, cursor: str | None
) -> FramePage:
    """The next page of at most `limit` (1 or more) frames; raises `InvalidCursorError`."""
    position = _parse_cursor(cursor) if cursor else None
    frames: list[StoredFrame] = []
    looked_at = 0
    while looked_at < _MAX_LOOKED_AT:
        members = await _step(client, wanted, position)
        if not members:
            return FramePage(frames, None)
        pipeline = client.pipeline(transaction=False)
        for _, member in members:
            pipeline.hmget(keys.frame_key(member), StoredFrame.names())
        for position, values in zip(members, await pipeline.execute(), strict=True):
            looked_at += 1
            record = StoredFrame.read(FrameId.parse(position[1]), values)
            if record is not None and _matches(record, wanted):
                frames.append(record)
            if len(frames) == limit:
                return FramePage(frames, cursor_of(f"{position[0]}:{position[1]}"))
    assert position is not None
    return FramePage(frames, cursor_of(f"{position[0]}:{position[1]}"))


async def _step(client: Redis, wanted: FrameFilter, after: _Position | None) -> list[_Position]:
    """The next few members of the index after a position, newest first; empty at the end."""
    index = keys.index_camera_key(wanted.camera_id) if wanted.camera_id else keys.INDEX_ALL
    oldest = "-inf" if wanted.from_unix_us is None else str(wanted.from_unix_us)
    newest = "+inf" if wanted.to_unix_us is None else f"({wanted.to_unix_us}"
    if after is not None and (wanted.to_unix_us is None or after[0] < wanted.to_unix_us):
        newest = str(after[0])
    offset = 0
    while True:
        reply = await client.zrevrangebyscore(
            index, newest, oldest, start=offset, num=_STEP, withscores=True
        )
        pairs = scored_members(reply)
        # Equal times are ordered by name, also descending: what is not below the position was
        # given out before.
        fresh = [pair for pair in pairs if after is None or pair < after]
        if fresh or len(pairs) < _STEP:
            return fresh
        offset += len(pairs)


def _matches(record: StoredFrame, wanted: FrameFilter) -> bool:
    if wanted.mark is not None and record.mark is not wanted.mark:
        return False
    if wanted.label is None and wanted.min_score is None:
        return True
    scores = record.label_scores
    if wanted.label is not None:
        scores = {label: score for label, score in scores.items() if label == wanted.label}
    return any(score >= (wanted.min_score or 0.0) for score in scores.values())


def _parse_cursor(cursor: str) -> _Position:
    time_us, _, member = position_of(cursor).partition(":")
    try:
        return int(time_us), str(FrameId.parse(member))
    except (ValueError, InvalidFrameIdError) as exc:
        raise InvalidCursorError(cursor) from exc
