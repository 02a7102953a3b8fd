"""Frames that wait for their enhancement: never lost, never twice on the queue."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.store.cameras.refetches import RefetchState
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from slimcloud.store.work_queue import Parked, WorkItem
from support.cloud.frames import EPOCH, make_frame, make_result

FRAME_ID = make_frame(1).frame_id
LATER = 10**15


async def _taken(store: Store, sequence: int = 1) -> WorkItem:
    await store.put_frame(*make_frame(sequence))
    (item,) = await store.work.take("worker", count=1)
    return item


async def _park(store: Store, item: WorkItem, until_us: int = LATER) -> Parked:
    return await store.work.park(item, presence=0.75, level=2, until_us=until_us)


async def _queued(store: Store) -> list[str]:
    items = await store.work.take("another", count=10)
    return [str(item.frame_id) for item in items]


async def test_parked_frame_is_off_the_queue_and_knows_its_presence(store: Store) -> None:
    assert await _park(store, await _taken(store)) is Parked.YES

    assert await store.work.outstanding() == 0
    assert await store.work.parked_count() == 1
    record = await store.get_frame(FRAME_ID)
    assert (record.state, record.presence) == (FrameState.QUEUED, 0.75)


async def test_enhancement_wakes_its_frame_once(store: Store) -> None:
    await _park(store, await _taken(store))

    await store.put_enhancement(FRAME_ID, b"more", level=2)
    await store.put_enhancement(FRAME_ID, b"more", level=2)

    assert await _queued(store) == [str(FRAME_ID)]
    assert await store.work.parked_count() == 0
    assert not await store.work.wake(FRAME_ID)


async def test_enhancement_that_was_there_before_is_not_waited_for(store: Store) -> None:
    item = await _taken(store)
    await store.put_enhancement(FRAME_ID, b"more", level=3)

    assert await _park(store, item) is Parked.YES

    assert await store.work.parked_count() == 0
    assert await _queued(store) == [str(FRAME_ID)]


async def test_refusal_wakes_its_frame(store: Store) -> None:
    await _park(store, await _taken(store))
    asked = await store.refetches.request(FRAME_ID, level=2)

    await store.refetches.refuse("gate", asked.request_id, "left the ring")

    assert await _queued(store) == [str(FRAME_ID)]


async def test_only_overdue_frames_are_woken(store: Store) -> None:
    await _park(store, await _taken(store, 1), until_us=100)
    await _park(store, await _taken(store, 2), until_us=200)

    assert await store.work.wake_overdue(99) == 0
    assert await store.work.wake_overdue(150) == 1

    assert await _queued(store) == [str(FRAME_ID)]
    assert await store.work.parked_count() == 1


async def test_frame_that_has_its_outcome_does_not_wait(store: Store) -> None:
    """Its entry was delivered twice, and the other worker was faster."""
    item = await _taken(store)
    await store.put_detections(FRAME_ID, make_result(("car", 0.5)))

    assert await _park(store, item) is Parked.SETTLED

    assert await store.work.parked_count() == 0


async def test_redelivered_frame_waits_once(store: Store) -> None:
    item = await _taken(store)

    assert await _park(store, item) is Parked.YES
    assert await _park(store, item, until_us=5) is Parked.YES

    assert await store.work.parked_count() == 1
    assert await store.work.wake_overdue(5) == 1
    assert await _queued(store) == [str(FRAME_ID)]


async def test_only_so_many_frames_may_wait(client: Redis) -> None:
    store = Store(client, max_queue_size=1)
    await store.work.prepare()
    assert await _park(store, await _taken(store, 1)) is Parked.YES
    second = await _taken(store, 2)

    assert await _park(store, second) is Parked.FULL

    assert await store.work.outstanding() == 1
    assert (await store.get_frame(second.frame_id)).presence is None


async def test_wider_enhancement_replaces_a_narrower_one_and_its_bytes(store: Store) -> None:
    await store.put_frame(*make_frame(1, container=b"base"))

    assert await store.put_enhancement(FRAME_ID, b"narrow", level=2)
    assert await store.put_enhancement(FRAME_ID, b"wide enough", level=3)
    assert not await store.put_enhancement(FRAME_ID, b"narrow", level=2)

    record = await store.get_frame(FRAME_ID)
    assert await store.get_enhancement(FRAME_ID) == b"wide enough"
    assert (record.enhancement_bytes, record.enhancement_level) == (11, 3)
    totals = await store.totals()
    assert totals.stored_bytes == len(b"base") + 11
    assert totals.enhancement_bytes == len(b"narrow") + 11
    await store.retention.remove(FRAME_ID)
    assert (await store.totals()).stored_bytes == 0


@pytest.mark.parametrize(
    ("first", "second", "is_new"), [(2, 3, True), (3, 2, False), (0, 3, False)]
)
async def test_wish_for_more_is_a_request_of_its_own(
    store: Store, first: int, second: int, is_new: bool
) -> None:
    earlier = await store.refetches.request(FRAME_ID, level=first)

    later = await store.refetches.request(FRAME_ID, level=second)

    assert (later.request_id != earlier.request_id) is is_new


async def test_request_is_done_when_its_level_is_reached(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    asked = await store.refetches.request(FRAME_ID, level=3)

    await store.put_enhancement(FRAME_ID, b"narrow", level=2)
    assert (await store.refetches.get(asked.request_id)).state is RefetchState.PENDING
    await store.put_enhancement(FRAME_ID, b"wide enough", level=3)

    assert (await store.refetches.get(asked.request_id)).state is RefetchState.DONE


async def test_request_that_nobody_waits_for_is_not_told(store: Store) -> None:
    asked = await store.refetches.request(FRAME_ID, level=2, expires_unix_us=1)

    assert await store.refetches.take("gate", EPOCH) == []

    answered = await store.refetches.get(asked.request_id)
    assert answered.state is RefetchState.REFUSED
    assert "nobody waits" in answered.detail
