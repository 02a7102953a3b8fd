from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from slimcloud.errors import StoreFullError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, Lane
from slimcloud.store.work_queue import MAX_LOOKED_AT, WorkItem
from support.cloud.frames import START_UNIX_US, make_frame, make_result


async def test_work_is_handed_out_in_order_and_once(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence))

    first = await store.work.take("a", count=2)
    second = await store.work.take("b", count=2)

    assert [item.frame_id.sequence for item in first] == [1, 2]
    assert [item.frame_id.sequence for item in second] == [3]
    assert await store.work.outstanding() == 3


async def test_work_that_is_done_is_off_the_queue(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    (item,) = await store.work.take("a", count=1)

    await store.work.done(item)

    assert await store.work.outstanding() == 0
    assert await store.work.reclaim("b", min_idle_seconds=0) is None


async def test_work_of_a_silent_worker_is_taken_over_and_counted(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    await store.work.take("dead", count=1)

    deliveries = []
    for _ in range(3):
        item = await store.work.reclaim("b", min_idle_seconds=0)
        assert item is not None
        deliveries.append(item.deliveries)

    assert deliveries == [2, 3, 4]


async def test_what_a_slow_worker_takes_over_from_itself_is_no_delivery(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    await store.work.take("slow", count=1)

    for _ in range(3):
        item = await store.work.reclaim("slow", min_idle_seconds=0)
        assert item is not None
        await store.work.keep(item, "slow")
    item = await store.work.reclaim("other", min_idle_seconds=0)

    assert item is not None
    assert item.deliveries == 2


async def test_work_of_a_live_worker_is_left_to_it(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    await store.work.take("alive", count=1)

    assert await store.work.reclaim("b", min_idle_seconds=60) is None


async def test_work_of_a_silent_worker_is_found_behind_that_of_many_live_ones(
    store: Store, client: Redis
) -> None:
    for sequence in range(1, 31):
        await store.put_frame(*make_frame(sequence))
    await store.work.take("alive", count=29)
    (left,) = await store.work.take("dead", count=1)
    hour_ms = 3600 * 1000
    await client.xclaim(
        keys.WORK, keys.DETECT_GROUP, "dead", 0, [left.entry_id], idle=hour_ms, justid=True
    )

    item = await store.work.reclaim("b", min_idle_seconds=600)

    assert item == left
    assert item.deliveries == 2


async def test_buried_work_is_kept_with_its_reason(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    (item,) = await store.work.take("a", count=1)

    await store.work.fail_try(item, "ValueError: no such graph")
    reason = await store.work.dead_letter(replace(item, deliveries=6))

    (letter,) = await store.work.dead_letters()
    assert (letter.frame_id, letter.deliveries, letter.reason) == (item.frame_id, 5, reason)
    assert reason == "given up after 5 deliveries: ValueError: no such graph"
    assert await store.work.outstanding() == 0
    record = await store.get_frame(item.frame_id)
    assert (record.state, record.reason) == (FrameState.FAILED, reason)


async def test_frame_is_buried_once_however_often_its_entry_comes_back(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    (item,) = await store.work.take("a", count=1)

    reasons = [await store.work.dead_letter(item) for _ in range(2)]

    assert reasons == ["given up after 0 deliveries: its workers died without a word", ""]
    assert await store.work.dead_count() == 1
    assert (await store.totals()).failed == 1
    assert [event.kind for event in await store.feed.read("0-0")] == [FeedKind.FRAME_FAILED]


async def test_consumer_with_pending_work_is_not_forgotten(store: Store, client: Redis) -> None:
    await store.put_frame(*make_frame(1))
    (item,) = await store.work.take("a", count=1)

    await store.work.retire("a")
    assert len(await client.xinfo_consumers(keys.WORK, keys.DETECT_GROUP)) == 1

    await store.work.done(item)
    await store.work.retire("a")
    assert await client.xinfo_consumers(keys.WORK, keys.DETECT_GROUP) == []


async def _told(store: Store) -> list[int]:
    """Sequences of the frames whose outcomes were told, in this order."""
    events = await store.feed.read("0-0")
    return [event.frame_id.sequence for event in events if event.frame_id is not None]


async def test_review_passes_live_and_live_passes_backfill(store: Store) -> None:
    await store.put_frame(*make_frame(1, lane="backfill"))
    await store.put_frame(*make_frame(2))
    await store.put_frame(*make_frame(3))
    await store.set_failed(make_frame(3).frame_id, "no such symbol")
    assert await store.request_detection(make_frame(3).frame_id)

    items = await store.work.take("a", count=10)

    assert [(item.frame_id.sequence, item.lane) for item in items] == [
        (3, Lane.REVIEW),
        (2, Lane.LIVE),
        (1, Lane.BACKFILL),
    ]


async def test_backfill_is_taken_only_as_far_as_asked(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(*make_frame(sequence, lane="backfill"))

    assert await store.work.take("a", count=10, backfill_count=0) == []
    assert len(await store.work.take("a", count=10, backfill_count=2)) == 2


async def test_full_backfill_does_not_refuse_what_is_live(client: Redis) -> None:
    store = Store(client, max_queue_size=1)
    await store.put_frame(*make_frame(1, lane="backfill"))

    await store.put_frame(*make_frame(2))

    assert await store.work.outstanding(Lane.LIVE) == 1
    assert await store.work.outstanding() == 2


async def test_wait_ends_with_work_of_any_lane(store: Store) -> None:
    for lane in ("live", "backfill"):
        assert await store.work.take("a", count=1) == []
        waiting = asyncio.create_task(store.work.wait(2.0))
        await store.put_frame(*make_frame(1, camera_id=lane, lane=lane))
        await waiting
        assert len(await store.work.take("a", count=1)) == 1


async def test_queue_is_made_again_after_redis_came_back_empty(store: Store, client: Redis) -> None:
    await client.flushall()
    await store.put_frame(*make_frame(1))

    assert len(await store.work.take("a", count=1)) == 1


# --- cameras take turns ---


async def _take(store: Store, count: int) -> list[tuple[str, int]]:
    items = await store.work.take("a", count=count)
    return [(item.frame_id.camera_id, item.frame_id.sequence) for item in items]


async def _put(store: Store, camera_id: str, *sequences: int, side: int = 64) -> None:
    for sequence in sequences:
        frame = make_frame(sequence, camera_id=camera_id, image_hw=(side, side))
        await store.put_frame(*frame)


async def test_camera_with_many_frames_stands_in_its_own_line(store: Store) -> None:
    await _put(store, "greedy", *range(1, 51))
    assert await _take(store, 3) == [("greedy", 1), ("greedy", 2), ("greedy", 3)]
    await _put(store, "gate", 1, 2, 3)
    await _put(store, "yard", 1, 2)

    taken = await _take(store, 8)

    others = [frame for frame in taken if frame[0] != "greedy"]
    assert sorted(others) == [("gate", 1), ("gate", 2), ("gate", 3), ("yard", 1), ("yard", 2)]
    assert [frame for frame in taken if frame[0] == "greedy"] == [("greedy", n) for n in (4, 5, 6)]
    assert taken[-1][0] == "greedy", "it waits for its turn, not they for its line"


async def test_frames_that_cost_much_come_more_seldom(store: Store) -> None:
    await _put(store, "large", *range(1, 11), side=256)
    await _put(store, "small", *range(1, 41), side=128)

    taken = await _take(store, 25)

    assert 4 <= sum(camera == "large" for camera, _ in taken) <= 6


async def test_camera_that_weighs_more_comes_more_often(store: Store) -> None:
    await store.cameras.set_weight("gate", 3)
    await _put(store, "gate", *range(1, 31))
    await _put(store, "yard", *range(1, 31))

    taken = await _take(store, 20)

    assert sum(camera == "gate" for camera, _ in taken) in (14, 15, 16)


async def test_camera_that_was_away_has_not_saved_up_its_turns(store: Store) -> None:
    await _put(store, "gate", *range(1, 31))
    await _take(store, 20)
    await _put(store, "away", *range(1, 11))

    taken = await _take(store, 8)

    assert sum(camera == "gate" for camera, _ in taken) in (3, 4)


async def test_full_queue_has_room_for_who_has_less_than_its_share(client: Redis) -> None:
    store = Store(client, max_queue_size=10)
    await _put(store, "greedy", *range(1, 11))

    with pytest.raises(StoreFullError):
        await _put(store, "greedy", 11)
    await _put(store, "gate", *range(1, 6))
    with pytest.raises(StoreFullError):
        await _put(store, "gate", 6)

    assert await store.work.untaken() == {"greedy": 10, "gate": 5}


async def test_share_of_a_full_queue_goes_by_weight(client: Redis) -> None:
    store = Store(client, max_queue_size=10)
    await store.cameras.set_weight("gate", 4)
    await _put(store, "greedy", *range(1, 11))

    await _put(store, "gate", *range(1, 9))
    with pytest.raises(StoreFullError):
        await _put(store, "gate", 9)


async def test_queue_holds_twice_its_size_however_many_cameras_come(client: Redis) -> None:
    store = Store(client, max_queue_size=12)

    for camera in range(12):  # each with less than its share when it comes
        with suppress(StoreFullError):
            await _put(store, f"gate-{camera}", *range(1, 13))

    assert await store.work.outstanding() == 24


async def test_work_that_an_older_build_queued_is_taken(store: Store, client: Redis) -> None:
    await _put(store, "gate", 1, 2, 3)
    await store.work.take("a", count=1)
    for key in [key async for key in client.scan_iter(f"{keys.LINE}*")]:
        await client.delete(key)  # it had no lines
    await client.delete(f"{keys.TURNS}{keys.WORK}")

    for _ in range(2):  # each process that starts
        await store.work.prepare()

    assert await _take(store, 9) == [("gate", 2), ("gate", 3)]


async def test_frames_in_line_or_with_a_worker_keep_their_places(store: Store) -> None:
    await _put(store, "gate", 1, 2)
    await _put(store, "yard", 1)
    await store.work.take("a", count=1)

    await store.work.line_up()

    assert await _take(store, 9) == [("yard", 1), ("gate", 2)]


# --- order ---


async def _two_workers(store: Store) -> tuple[WorkItem, WorkItem]:
    await store.put_frame(*make_frame(1))
    await store.put_frame(*make_frame(2))
    (first,) = await store.work.take("a", count=1)
    (second,) = await store.work.take("b", count=1)
    return first, second


async def test_outcomes_of_a_camera_are_told_in_order_by_any_workers(store: Store) -> None:
    first, second = await _two_workers(store)

    await store.put_detections(second.frame_id, make_result(("car", 0.5)))
    assert await _told(store) == []
    assert (await store.get_frame(second.frame_id)).state is FrameState.DETECTED
    await store.set_failed(first.frame_id, "no such symbol")

    assert await _told(store) == [1, 2]


async def test_cameras_do_not_wait_for_each_other(store: Store) -> None:
    await store.put_frame(*make_frame(1, camera_id="gate"))
    await store.put_frame(*make_frame(2, camera_id="yard"))
    await store.work.take("a", count=2)

    await store.put_detections(make_frame(2, camera_id="yard").frame_id, make_result())

    assert await _told(store) == [2]


async def test_frame_that_is_tried_again_does_not_hold_up_its_camera(store: Store) -> None:
    first, second = await _two_workers(store)
    await store.put_detections(second.frame_id, make_result())

    await store.work.fail_try(first, "RuntimeError: the graph failed")
    assert await _told(store) == [2]
    await store.put_detections(first.frame_id, make_result())

    assert await _told(store) == [2, 1]


async def test_outcome_waits_for_a_silent_worker_so_long_and_no_longer(store: Store) -> None:
    first, second = await _two_workers(store)
    await store.put_detections(second.frame_id, make_result())

    assert await store.work.release_held(60.0) == 0
    assert await _told(store) == []
    assert await store.work.release_held(0.0) == 1
    assert await _told(store) == [2]
    await store.put_detections(first.frame_id, make_result())

    assert await _told(store) == [2, 1]


async def test_parked_frame_does_not_hold_up_its_camera(store: Store) -> None:
    first, second = await _two_workers(store)
    await store.put_detections(second.frame_id, make_result())

    await store.work.park(first, presence=0.5, level=2, until_us=10**15)

    assert await _told(store) == [2]


async def test_order_leaves_nothing_behind(store: Store, client: Redis) -> None:
    first, second = await _two_workers(store)
    await store.put_detections(second.frame_id, make_result())
    await client.delete(f"{keys.FRAME}{first.frame_id}")  # as its own end would

    assert not await store.set_dropped(first.frame_id, "gone")
    await store.work.done(first)

    assert await _told(store) == [2]
    assert not await client.exists(f"{keys.ORDER}gate", keys.HELD)
    assert await store.work.outstanding() == 0


# --- what leaves the queue before its turn ---


async def test_frame_that_nobody_takes_is_dropped_at_its_deadline(client: Redis) -> None:
    now_us = START_UNIX_US + 10**6
    store = Store(client, queue_timeout_seconds=0.5, clock=lambda: now_us)
    await store.work.prepare()
    await store.put_frame(*make_frame(1, expires_us=now_us - 1))
    await store.put_frame(*make_frame(2, expires_us=now_us + 1))
    await store.put_frame(*make_frame(3))  # gets the default, which has passed
    await store.put_frame(*make_frame(4, lane="backfill"))

    assert await store.drop_expired() == 2

    records = [await store.get_frame(make_frame(n).frame_id) for n in (1, 2, 3, 4)]
    dropped, queued = FrameState.DROPPED, FrameState.QUEUED
    assert [record.state for record in records] == [dropped, queued, dropped, queued]
    assert records[0].reason == "its deadline passed while it waited for 0.999 s"
    assert await _told(store) == [1, 3]
    assert await store.work.outstanding() == 2


async def test_frames_that_have_expired_are_looked_for_in_bounded_steps(client: Redis) -> None:
    now_us = START_UNIX_US + 10**6
    store = Store(client, clock=lambda: now_us)
    await store.work.prepare()
    for sequence in range(1, 251):  # every other one has time
        expires_us = now_us + (1 if sequence % 2 else -1)
        await store.put_frame(*make_frame(sequence, expires_us=expires_us))

    looked_at, expired = await store.work.expired("gate", 0, now_us)

    assert (looked_at, len(expired)) == (MAX_LOOKED_AT, MAX_LOOKED_AT // 2)
    assert await store.drop_expired() == 125
    assert await store.drop_expired() == 0
    assert await store.work.outstanding() == 125


async def test_frame_that_a_worker_holds_is_left_to_it_at_its_deadline(store: Store) -> None:
    await store.put_frame(*make_frame(1, expires_us=1))
    await store.work.take("a", count=1)

    assert await store.drop_expired() == 0


async def test_removed_frame_leaves_the_queue_and_is_told(store: Store) -> None:
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence))
    await store.work.take("a", count=1)

    for sequence in (1, 2):
        await store.retention.remove(make_frame(sequence).frame_id)

    assert await store.work.outstanding() == 0
    assert await store.work.reclaim("b", min_idle_seconds=0) is None
    assert await _told(store) == [1, 2]
    assert (await store.totals()).dropped == 2


async def test_requested_frame_loses_its_dead_letter_and_makes_no_live_event(
    store: Store, client: Redis
) -> None:
    await store.put_frame(*make_frame(1, expires_us=START_UNIX_US))
    (item,) = await store.work.take("a", count=1)
    await store.work.dead_letter(item)

    assert await store.request_detection(item.frame_id)
    assert not await store.request_detection(item.frame_id)

    assert await store.work.dead_count() == 0
    record = await store.get_frame(item.frame_id)
    assert (record.state, record.reason, record.expires_unix_us) == (FrameState.QUEUED, "", 0)
    assert await store.put_detections(item.frame_id, make_result())
    assert (await store.feed.read("0-0"))[-1].kind is FeedKind.FRAME_BACKFILLED
    totals = await store.totals()
    assert (totals.failed, totals.detected) == (0, 1)


async def test_request_that_is_taken_back_leaves_the_queue(store: Store) -> None:
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence))
    wanted, live = (make_frame(sequence).frame_id for sequence in (1, 2))
    await store.set_dropped(wanted, "expired")
    await store.request_detection(wanted)

    assert await store.cancel_detection(wanted)
    assert not await store.cancel_detection(wanted)
    assert not await store.cancel_detection(live)

    assert [item.frame_id for item in await store.work.take("a", count=9)] == [live]
    assert (await store.get_frame(wanted)).state is FrameState.DROPPED


async def test_full_review_lane_refuses_another_request(client: Redis) -> None:
    store = Store(client, max_queue_size=1)
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence))
        await store.set_dropped(make_frame(sequence).frame_id, "expired")
    assert await store.request_detection(make_frame(1).frame_id)

    with pytest.raises(StoreFullError, match="1 requests wait"):
        await store.request_detection(make_frame(2).frame_id)

    assert (await store.get_frame(make_frame(2).frame_id)).state is FrameState.DROPPED


async def test_second_outcome_is_refused(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    frame_id = make_frame(1).frame_id

    assert await store.set_dropped(frame_id, "expired")
    assert not await store.put_detections(frame_id, make_result())
    assert not await store.put_detections(FrameId("gate", 1, 1), make_result())
