from __future__ import annotations

from redis.asyncio import Redis

from slimcloud import keys
from slimcloud.store import Store
from support.frames import make_frame


async def test_work_is_handed_out_in_order_and_once(store: Store) -> None:
    for sequence in (1, 2, 3):
        await store.put_frame(make_frame(sequence))

    first = await store.work.read("a", count=2, block_seconds=0.01)
    second = await store.work.read("b", count=2, block_seconds=0.01)

    assert [item.frame_id.sequence for item in first] == [1, 2]
    assert [item.frame_id.sequence for item in second] == [3]
    assert await store.work.outstanding() == 3


async def test_work_that_is_done_is_off_the_queue(store: Store) -> None:
    await store.put_frame(make_frame(1))
    (item,) = await store.work.read("a", count=1, block_seconds=0.01)

    await store.work.done(item)

    assert await store.work.outstanding() == 0
    assert await store.work.reclaim("b", min_idle_seconds=0, count=10) == []


async def test_work_of_a_silent_worker_is_taken_over_and_counted(store: Store) -> None:
    await store.put_frame(make_frame(1))
    await store.work.read("dead", count=1, block_seconds=0.01)

    deliveries = []
    for _ in range(3):
        (item,) = await store.work.reclaim("b", min_idle_seconds=0, count=1)
        deliveries.append(item.deliveries)

    assert deliveries == [2, 3, 4]


async def test_work_of_a_live_worker_is_left_to_it(store: Store) -> None:
    await store.put_frame(make_frame(1))
    await store.work.read("alive", count=1, block_seconds=0.01)

    assert await store.work.reclaim("b", min_idle_seconds=60, count=1) == []


async def test_buried_work_is_kept_with_its_reason(store: Store) -> None:
    await store.put_frame(make_frame(1))
    (item,) = await store.work.read("a", count=1, block_seconds=0.01)

    await store.work.bury(item, "killed five workers")

    assert await store.work.dead_letters() == [(make_frame(1).frame_id, "killed five workers")]
    assert await store.work.outstanding() == 0


async def test_consumer_with_pending_work_is_not_forgotten(store: Store, client: Redis) -> None:
    await store.put_frame(make_frame(1))
    (item,) = await store.work.read("a", count=1, block_seconds=0.01)

    await store.work.retire("a")
    assert len(await client.xinfo_consumers(keys.WORK, keys.DETECT_GROUP)) == 1

    await store.work.done(item)
    await store.work.retire("a")
    assert await client.xinfo_consumers(keys.WORK, keys.DETECT_GROUP) == []
