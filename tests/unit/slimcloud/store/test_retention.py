from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from slimcloud.errors import StoreFullError
from slimcloud.store import keys
from slimcloud.store.frames import Store
from slimcloud.store.listing import FrameFilter
from support.cloud.frames import START_UNIX_US, make_frame, make_result


async def test_frames_beyond_their_time_are_removed_with_all_that_hangs_on_them(
    client: Redis,
) -> None:
    now_us = START_UNIX_US
    store = Store(client, retention_seconds=10, clock=lambda: now_us)
    for sequence, received_us in ((1, now_us), (2, now_us + 5_000_000)):
        await store.put_frame(*make_frame(sequence, received_us=received_us))
    await store.put_enhancement(make_frame(1).frame_id, b"more")
    await store.put_detections(make_frame(1).frame_id, make_result(("car", 0.5)))

    now_us += 12_000_000
    removed = await store.retention.sweep()

    assert removed == 1
    left = [key async for key in client.scan_iter("slim:*")]
    assert not [key for key in left if str(make_frame(1).frame_id).encode() in key]
    assert [f.frame_id.sequence for f in (await store.index.page()).records] == [2]
    totals = await store.totals()
    assert (totals.removed, totals.stored_bytes) == (1, len(make_frame(2).container))


async def test_oldest_frames_go_when_too_many_bytes_are_held(client: Redis) -> None:
    store = Store(client, max_stored_bytes=3500, frame_bytes=0, clock=lambda: START_UNIX_US)
    for sequence in range(1, 7):
        await store.put_frame(*make_frame(sequence, container=bytes(1000)))

    removed = await store.retention.sweep()

    assert removed == 3
    assert [f.frame_id.sequence for f in (await store.index.page()).records] == [6, 5, 4]
    assert (await store.totals()).stored_bytes == 3000


async def test_what_was_found_in_a_frame_takes_room_too(client: Redis) -> None:
    store = Store(client, max_stored_bytes=2500, frame_bytes=0, clock=lambda: START_UNIX_US)
    result = make_result(*[("car", 0.5)] * 20)
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence, container=bytes(100)))
        await store.put_detections(make_frame(sequence).frame_id, result)

    stored = (await store.totals()).stored_bytes
    removed = await store.retention.sweep()

    assert stored == 2 * (100 + len(result.to_json())) > 2500
    assert removed == 1
    assert (await store.totals()).stored_bytes == stored / 2


async def test_many_small_frames_take_room_too(client: Redis) -> None:
    store = Store(client, max_stored_bytes=12_000, frame_bytes=1000, clock=lambda: START_UNIX_US)
    for sequence in range(1, 11):
        await store.put_frame(*make_frame(sequence, camera_id="busy", container=bytes(10)))
    for sequence in range(1, 4):
        await store.put_frame(*make_frame(sequence, camera_id="large", container=bytes(1000)))

    await store.retention.sweep()

    of_camera = [
        [f.frame_id.sequence for f in (await store.index.page(FrameFilter(camera_id=c))).records]
        for c in ("busy", "large")
    ]
    assert of_camera == [[10, 9, 8, 7, 6], [3, 2, 1]]


async def test_junk_of_one_camera_removes_only_its_own(client: Redis) -> None:
    store = Store(client, max_stored_bytes=8000, frame_bytes=0, clock=lambda: START_UNIX_US)
    for sequence in range(1, 21):
        await store.put_frame(*make_frame(sequence, camera_id="quiet", container=bytes(100)))
    for sequence in range(1, 13):
        await store.put_frame(*make_frame(sequence, camera_id="greedy", container=bytes(900)))
        await store.retention.sweep()

    quiet, greedy = [
        (await store.index.page(FrameFilter(camera_id=camera))).records
        for camera in ("quiet", "greedy")
    ]
    assert len(quiet) == 20
    assert [frame.frame_id.sequence for frame in greedy] == [12, 11, 10, 9, 8, 7]


async def test_frames_that_an_older_build_stored_make_room_too(client: Redis) -> None:
    store = Store(client, max_stored_bytes=2000, frame_bytes=0, clock=lambda: START_UNIX_US)
    for sequence in range(1, 7):
        await store.put_frame(*make_frame(sequence, container=bytes(1000)))
    await client.delete(keys.SHARES)  # it counted none

    assert await store.retention.sweep() == 4
    await store.put_enhancement(make_frame(6).frame_id, bytes(500))
    assert await store.retention.sweep() == 1

    assert (await store.totals()).stored_bytes == 1500
    await store.retention.remove(make_frame(6).frame_id)
    assert await client.exists(keys.SHARES) == 0


async def test_sweeps_of_two_processes_at_once_remove_no_more_than_one(client: Redis) -> None:
    stores = [
        Store(client, max_stored_bytes=10_500, frame_bytes=0, clock=lambda: START_UNIX_US)
        for _ in range(2)
    ]
    for sequence in range(1, 31):
        await stores[0].put_frame(*make_frame(sequence, container=bytes(1000)))

    await asyncio.gather(*(store.retention.sweep() for store in stores))

    assert (await stores[0].totals()).stored_bytes == 10_000


async def test_full_redis_can_be_made_room_in(client: Redis) -> None:
    store = Store(client, max_stored_bytes=0, frame_bytes=0, clock=lambda: START_UNIX_US)
    await store.work.prepare()
    for sequence in (1, 2):
        await store.put_frame(*make_frame(sequence))
    configured = str((await client.config_get("maxmemory"))["maxmemory"])
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFullError):
            await store.put_frame(*make_frame(3))
        assert await store.set_dropped(make_frame(1).frame_id, "expired")

        assert await store.retention.sweep() == 2
    finally:
        await client.config_set("maxmemory", configured)

    assert await store.work.outstanding() == 0
    assert (await store.totals()).stored_bytes == 0


async def test_bytes_of_a_frame_that_redis_expired_are_given_back(client: Redis) -> None:
    now_us = START_UNIX_US
    store = Store(client, retention_seconds=10, clock=lambda: now_us)
    await store.put_frame(*make_frame(1))
    await client.delete(f"{keys.FRAME}{make_frame(1).frame_id}")  # as its own end would

    now_us += 3600_000_000
    await store.retention.sweep()

    assert (await store.totals()).stored_bytes == 0
    assert await client.zcard(keys.INDEX_ALL) == 0
    assert await client.hlen(keys.SIZES) == 0


async def test_frame_that_is_removed_twice_counts_once(client: Redis) -> None:
    store = Store(client, retention_seconds=1, clock=lambda: START_UNIX_US + 10**9)
    await store.put_frame(*make_frame(1))

    await store.retention.remove(make_frame(1).frame_id)
    await store.retention.remove(make_frame(1).frame_id)

    totals = await store.totals()
    assert (totals.removed, totals.stored_bytes) == (1, 0)
