from __future__ import annotations

import logging

import pytest

from slimcloud.errors import InvalidCursorError, ReviewNotFoundError
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.listing import FrameFilter
from slimcloud.store.records import ReviewMark
from slimcloud.store.reviews import ReviewFilter, ReviewKind
from support.cloud.frames import make_frame


async def test_the_frame_has_the_last_mark_and_the_number_of_comments(store: Store) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))

    await store.reviews.add(
        frame_id, "ann", ReviewKind.NOTE, mark=ReviewMark.WRONG, comment="that is a dog"
    )
    await store.reviews.add(frame_id, "ben", ReviewKind.NOTE, mark=None, comment="no, a cat")
    between = await store.get_frame(frame_id)
    await store.reviews.add(frame_id, "ann", ReviewKind.NOTE, mark=ReviewMark.OPEN)

    assert (between.mark, between.comments_count) == (ReviewMark.WRONG, 2)
    assert (await store.get_frame(frame_id)).mark is ReviewMark.OPEN


async def test_every_record_says_who_did_what_to_which_frame(store: Store) -> None:
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence))
    first, second = make_frame(1).frame_id, make_frame(2).frame_id

    look = await store.reviews.add(first, "ann", ReviewKind.LOOK, level=2)
    await store.reviews.add(first, "ann", ReviewKind.SHARPEN)
    await store.reviews.add(second, "ben", ReviewKind.LOOK, level=0)
    note = await store.reviews.add(first, "ben", ReviewKind.NOTE, mark=ReviewMark.REVIEWED)

    of_first = await store.reviews.of_frame(first)
    assert [record.kind for record in of_first] == [
        ReviewKind.LOOK,
        ReviewKind.SHARPEN,
        ReviewKind.NOTE,
    ]
    assert (of_first[0].review_id, of_first[0].reviewer, of_first[0].level) == (look, "ann", 2)
    assert note is not None
    assert await store.reviews.get(note) == of_first[2]


async def test_the_audit_is_listed_newest_first_in_pages_and_by_what_is_asked_for(
    store: Store,
) -> None:
    for sequence in range(1, 8):
        await store.put_frame(*make_frame(sequence))
        reviewer = "ann" if sequence % 2 else "ben"
        await store.reviews.add(make_frame(sequence).frame_id, reviewer, ReviewKind.LOOK, level=0)

    seen: list[int] = []
    cursor = None
    while True:
        page = await store.reviews.list(ReviewFilter(), limit=3, cursor=cursor)
        seen += [record.frame_id.sequence for record in page.records]
        cursor = page.next_cursor
        if cursor is None:
            break
    by_ann = await store.reviews.list(ReviewFilter(reviewer="ann"))
    notes = await store.reviews.list(ReviewFilter(kind=ReviewKind.NOTE))

    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert [record.frame_id.sequence for record in by_ann.records] == [7, 5, 3, 1]
    assert (list(notes.records), notes.next_cursor) == ([], None)


async def test_the_audit_outlives_the_frame(store: Store) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))
    await store.reviews.add(frame_id, "ann", ReviewKind.LOOK, level=0)

    await store.retention.remove(frame_id)

    (record,) = (await store.reviews.list(ReviewFilter())).records
    assert record.frame_id == frame_id
    assert await store.reviews.add(frame_id, "ann", ReviewKind.LOOK, level=0) is None


async def test_notes_are_events_and_lines_of_the_log_and_looks_are_neither(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))
    after = await store.feed.latest_id()

    with caplog.at_level(logging.INFO, "slimcloud.store.reviews"):
        await store.reviews.add(frame_id, "ann", ReviewKind.LOOK, level=0)
        note = await store.reviews.add(
            frame_id, "ann", ReviewKind.NOTE, mark=ReviewMark.WRONG, comment="a\nb"
        )

    (event,) = await store.feed.read(after)
    assert (event.kind, event.detail) == (FeedKind.REVIEW_RECORDED, note)
    (line,) = caplog.messages
    assert "ann" in line
    assert "\n" not in line


async def test_frames_are_chosen_by_their_mark(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence))
    await store.reviews.add(
        make_frame(2).frame_id, "ann", ReviewKind.NOTE, mark=ReviewMark.REVIEWED, comment="fine"
    )

    reviewed = await store.index.page(FrameFilter(mark=ReviewMark.REVIEWED))
    unseen = await store.index.page(FrameFilter(mark=ReviewMark.OPEN))

    assert [frame.frame_id.sequence for frame in reviewed.records] == [2]
    assert [frame.frame_id.sequence for frame in unseen.records] == [3, 1]


@pytest.mark.parametrize("cursor", ["!", "AAAA", "é", "-1-1", "1"])
async def test_a_cursor_of_elsewhere_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.reviews.list(ReviewFilter(), cursor=cursor)


@pytest.mark.parametrize("review_id", ["", "1", "1-2", "-", "+", "99999999999999999999-1"])
async def test_a_record_that_is_not_there_is_not_found(store: Store, review_id: str) -> None:
    with pytest.raises(ReviewNotFoundError):
        await store.reviews.get(review_id)
