from __future__ import annotations

from slimcloud.store.frames import Store
from support.cloud.frames import START_UNIX_US, make_frame


async def test_frames_are_counted_where_they_were_captured(store: Store) -> None:
    for sequence in (0, 1, 2, 50, 99):
        await store.put_frame(*make_frame(sequence + 1, capture_us=START_UNIX_US + sequence))
    await store.put_frame(*make_frame(1, camera_id="yard", capture_us=START_UNIX_US + 10))

    everything = await store.timeline.count(START_UNIX_US, START_UNIX_US + 100, 10)
    of_yard = await store.timeline.count(START_UNIX_US, START_UNIX_US + 100, 4, "yard")

    assert list(everything.frames) == [3, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert list(of_yard.frames) == [1, 0, 0, 0]


async def test_the_span_is_that_of_the_stored_frames(store: Store) -> None:
    assert await store.timeline.span() is None

    await store.put_frame(*make_frame(1, capture_us=START_UNIX_US + 7))
    await store.put_frame(*make_frame(2, capture_us=START_UNIX_US + 3))

    assert await store.timeline.span() == (START_UNIX_US + 3, START_UNIX_US + 7)
    assert await store.timeline.span("elsewhere") is None
