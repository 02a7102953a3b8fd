"""Who looked at what, and what they said of it: a log that is only ever added to.

One script writes the audit, the records of each frame, and the newest mark and number of comments
in the frame's hash, so they never disagree. A mark is taken back by marking again, a comment by
another comment. The audit outlives the frames; every note is also a line of the process's log, for
whoever must keep it longer.
"""

import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from slimcloud.errors import InvalidCursorError, ReviewNotFoundError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.page import Page, page_of
from slimcloud.store.records import ReviewMark
from slimcloud.store.replies import StreamEntry, stream_entries, text
from slimcloud.store.scripts import Script

logger = logging.getLogger(__name__)

_STEP = 200  # records per round trip
_STREAM_ID = re.compile(r"[0-9]{1,16}-[0-9]{1,16}", re.ASCII)

_RECORD_REVIEW = Script(__file__, "record_review")


class ReviewKind(StrEnum):
    """What a person did."""

    LOOK = "look"  # was shown the picture
    SHARPEN = "sharpen"  # had the camera asked for the enhancement
    NOTE = "note"  # marked or commented


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """What one person did with one frame at one time."""

    review_id: str
    time_unix_us: int  # Redis' clock, milliseconds exact
    frame_id: FrameId
    reviewer: str
    kind: ReviewKind
    level: int | None  # of a look: the widest level that the picture was made of
    mark: ReviewMark | None  # of a note: None leaves the mark as it was
    comment: str  # of a note: empty says nothing


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Which records to list; every condition that is set must hold."""

    reviewer: str | None = None
    kind: ReviewKind | None = None
    camera_id: str | None = None

    def matches(self, record: ReviewRecord) -> bool:
        return (
            self.reviewer in (None, record.reviewer)
            and self.kind in (None, record.kind)
            and self.camera_id in (None, record.frame_id.camera_id)
        )


class ReviewLog:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def add(
        self,
        frame_id: FrameId,
        reviewer: str,
        kind: ReviewKind,
        *,
        level: int | None = None,
        mark: ReviewMark | None = None,
        comment: str = "",
    ) -> str | None:
        """Record what a reviewer did with a frame, with what `ReviewRecord` says of it; gives the
        record's id, None when the frame is gone.
        """
        review_id = await _RECORD_REVIEW(
            self._client,
            id=str(frame_id),
            kind=kind,
            reviewer=reviewer,
            level="" if level is None else level,
            mark=mark or "",
            comment=comment,
        )
        if review_id and kind is ReviewKind.NOTE:
            logger.info(
                "%s says of frame %s: mark %s, comment %r",
                reviewer,
                frame_id,
                mark or "unchanged",
                comment,
                extra={"camera_id": frame_id.camera_id, "frame_id": str(frame_id)},
            )
        return text(review_id) or None

    async def get(self, review_id: str) -> ReviewRecord:
        """One record.

        Raises:
            ReviewNotFoundError: there is none, or it was trimmed.
        """
        if _STREAM_ID.fullmatch(review_id):
            reply = await self._client.xrange(keys.REVIEWS, review_id, review_id, count=1)
            for entry in stream_entries(reply):
                return _review_record(entry)
        raise ReviewNotFoundError(review_id)

    async def of_frame(self, frame_id: FrameId) -> list[ReviewRecord]:
        """The records of one frame that is stored, oldest first."""
        entries = stream_entries(await self._client.xrange(f"{keys.REVIEWS_OF}{frame_id}"))
        return [_review_record(entry) for entry in entries]

    async def list(
        self, wanted: ReviewFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ReviewRecord]:
        """Records of every frame, newest first.

        Raises:
            InvalidCursorError: `cursor` is not a `next_cursor` of an earlier page.
        """
        if cursor and not _STREAM_ID.fullmatch(cursor):
            raise InvalidCursorError(cursor)
        newest = f"({cursor}" if cursor else "+"
        return await page_of(self._records(newest), wanted.matches, limit)

    async def _records(self, newest: str) -> AsyncIterator[tuple[str, ReviewRecord]]:
        while entries := stream_entries(
            await self._client.xrevrange(keys.REVIEWS, newest, "-", count=_STEP)
        ):
            for entry in entries:
                yield entry[0], _review_record(entry)
            newest = f"({entries[-1][0]}"


def _review_record(entry: StreamEntry) -> ReviewRecord:
    review_id, fields = entry
    return ReviewRecord(
        review_id=review_id,
        time_unix_us=1000 * int(review_id.partition("-")[0]),
        frame_id=FrameId.parse(fields["frame_id"]),
        reviewer=fields["reviewer"],
        kind=ReviewKind(fields["kind"]),
        level=int(fields["level"]) if fields["level"] else None,
        mark=ReviewMark(fields["mark"]) if fields["mark"] else None,
        comment=fields["comment"],
    )
