from __future__ import annotations

import pytest

from slimcloud.errors import InvalidCursorError
from slimcloud.store.frames import Store
from slimcloud.store.listing import FrameFilter
from support.cloud.frames import START_UNIX_US, make_frame, make_result


async def _listed(
    store: Store, frame_filter: FrameFilter | None = None, *, limit: int = 50
) -> list[str]:
    """Every page's frames as camera:sequence, in order."""
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.index.page(frame_filter, limit=limit, cursor=cursor)
        assert len(page.records) <= limit
        names += [f"{f.frame_id.camera_id}:{f.frame_id.sequence}" for f in page.records]
        cursor = page.next_cursor
        if cursor is None:
            return names


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_any_size_give_every_frame_once_newest_first(
    store: Store, limit: int
) -> None:
    for sequence in range(1, 8):
        await store.put_frame(*make_frame(sequence, camera_id="ab"[sequence % 2]))

    assert await _listed(store, limit=limit) == ["b:7", "a:6", "b:5", "a:4", "b:3", "a:2", "b:1"]


async def test_frames_of_one_moment_are_all_listed(store: Store) -> None:
    for sequence in range(1, 251):
        await store.put_frame(*make_frame(sequence, capture_us=START_UNIX_US))

    names = await _listed(store, limit=7)

    assert len(names) == len(set(names)) == 250


async def test_new_frames_do_not_disturb_a_listing_under_way(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence))
    first = await store.index.page(limit=2)

    await store.put_frame(*make_frame(4))
    second = await store.index.page(limit=2, cursor=first.next_cursor)

    assert [f.frame_id.sequence for f in (*first.records, *second.records)] == [3, 2, 1]


async def test_filters_hold_together(store: Store) -> None:
    for sequence in range(1, 7):
        frame = make_frame(sequence, camera_id="ab"[sequence % 2])
        await store.put_frame(*frame)
        await store.put_detections(
            frame.frame_id, make_result(("car", sequence / 10), ("dog", 0.95))
        )
    await store.put_frame(*make_frame(7, camera_id="a"))  # nothing detected yet

    assert await _listed(store, FrameFilter(camera_id="a")) == ["a:7", "a:6", "a:4", "a:2"]
    assert await _listed(store, FrameFilter(label="car", min_score=0.45)) == ["a:6", "b:5"]
    assert await _listed(store, FrameFilter(min_score=0.96)) == []
    assert await _listed(store, FrameFilter(label="cat")) == []
    assert await _listed(
        store,
        FrameFilter(from_unix_us=START_UNIX_US + 2000, to_unix_us=START_UNIX_US + 4000),
        limit=1,
    ) == ["b:3", "a:2"]


async def test_removed_frames_are_not_listed(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence))

    await store.retention.remove(make_frame(2).frame_id)

    assert await _listed(store) == ["gate:3", "gate:1"]


@pytest.mark.parametrize("cursor", ["nonsense", "123", "é", "123:gate", ":", "=" * 10])
async def test_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.index.page(cursor=cursor)


async def test_frames_are_counted_where_they_were_captured(store: Store) -> None:
    for sequence in (0, 1, 2, 50, 99):
        await store.put_frame(*make_frame(sequence + 1, capture_us=START_UNIX_US + sequence))
    await store.put_frame(*make_frame(1, camera_id="yard", capture_us=START_UNIX_US + 10))

    everything = await store.index.count(START_UNIX_US, START_UNIX_US + 100, 10)
    of_yard = await store.index.count(START_UNIX_US, START_UNIX_US + 100, 4, "yard")

    assert everything == [3, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert of_yard == [1, 0, 0, 0]


async def test_the_span_is_that_of_the_stored_frames(store: Store) -> None:
    assert await store.index.span() is None

    await store.put_frame(*make_frame(1, capture_us=START_UNIX_US + 7))
    await store.put_frame(*make_frame(2, capture_us=START_UNIX_US + 3))

    assert await store.index.span() == (START_UNIX_US + 3, START_UNIX_US + 7)
    assert await store.index.span("elsewhere") is None
