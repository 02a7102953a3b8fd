"""The feed: what happened, in order, as one Redis stream. It tells of what people review as events
(`slimcloud.events`), too.

Ingest reads it to answer its cameras (`slimcloud.ingest.event_relay`), and the API passes it on to
people (SSE).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.replies import StreamEntry, stream_entries, text


class FeedKind(StrEnum):
    FRAME_DETECTED = "frame.detected"  # a live frame: somebody may be waiting for it
    FRAME_BACKFILLED = "frame.backfilled"  # detected too, but it came late: for the record
    FRAME_DROPPED = "frame.dropped"
    FRAME_FAILED = "frame.failed"
    ENHANCEMENT_STORED = "enhancement.stored"
    REFETCH_REQUESTED = "refetch.requested"
    REFETCH_REFUSED = "refetch.refused"
    REVIEW_RECORDED = "review.recorded"
    GAP_STORED = "gap.stored"
    BUDGET_REQUESTED = "budget.requested"
    CAMERA_CONNECTED = "camera.connected"
    CAMERA_DISCONNECTED = "camera.disconnected"
    RULES_CHANGED = "rules.changed"
    EVENT_BEGUN = "event.begun"
    EVENT_CHANGED = "event.changed"
    EVENT_ENDED = "event.ended"
    UNKNOWN = "unknown"  # a newer build wrote it: passed over, but its place is kept


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry; `entry_id` is its Redis stream id, fit for Last-Event-ID."""

    entry_id: str
    kind: FeedKind
    camera_id: str
    frame_id: FrameId | None
    detail: str  # request id, connection id, event id, version or reason, by kind


class Feed:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def add(
        self, kind: FeedKind, camera_id: str, frame_id: FrameId | None = None, detail: str = ""
    ) -> str:
        """Append an entry; gives its id."""
        entry: dict[FieldT, EncodableT] = {
            "kind": kind.value,
            "camera_id": camera_id,
            "frame_id": str(frame_id or ""),
            "detail": detail,
        }
        return text(await self._client.xadd(keys.FEED, entry, maxlen=keys.FEED_LENGTH))

    async def latest_id(self) -> str:
        """The id of the newest entry, to read on from; `0-0` when there is none."""
        entries = stream_entries(await self._client.xrevrange(keys.FEED, count=1))
        return entries[0][0] if entries else "0-0"

    async def has_trimmed(self, after: str) -> bool:
        """Whether entries after the id `after` may be gone: the oldest that is kept is younger."""
        entries = stream_entries(await self._client.xrange(keys.FEED, count=1))
        return bool(entries) and entry_order(after) < entry_order(entries[0][0])

    async def read(
        self, after: str, *, count: int = 100, block_seconds: float = 0.0
    ) -> list[FeedEntry]:
        """Entries after the id `after`, oldest first; waits for up to `block_seconds` (0 to 2)
        when there is none.

        Entries of a newer build come as `FeedKind.UNKNOWN`: left out, a reader that meets nothing
        else would stay before them and ask again without a pause.

        A blocking read holds a connection of the pool for that long: use one tail per process.
        """
        block_ms = min(2000, round(block_seconds * 1000)) or None
        streams: Any = await self._client.xread({keys.FEED: after}, count=count, block=block_ms)
        return [_entry(entry) for _, reply in streams or () for entry in stream_entries(reply)]


def entry_order(entry_id: str) -> tuple[int, int]:
    """Later entries have greater ones; an empty id comes before all."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds or 0), int(number or 0)


def _entry(entry: StreamEntry) -> FeedEntry:
    entry_id, fields = entry
    try:
        kind = FeedKind(fields["kind"])
    except ValueError:  # its fields may mean something else
        return FeedEntry(entry_id, FeedKind.UNKNOWN, "", None, "")
    frame_id = FrameId.parse(fields["frame_id"]) if fields.get("frame_id") else None
    return FeedEntry(
        entry_id, kind, fields.get("camera_id", ""), frame_id, fields.get("detail", "")
    )
