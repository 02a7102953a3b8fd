"""Frames that need others: taken only where those are, read with them, and removed before them."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.errors import ReferenceRefusedError
from slimcloud.store import keys
from slimcloud.store.frames import Store
from slimcloud.store.records import Lane
from support.cloud.frames import START_UNIX_US, MadeFrame, make_frame


def _frame(sequence: int, reference: int = 0, **more: object) -> MadeFrame:
    made = make_frame(
        sequence, reference=reference, container=b"%d" % sequence, received_us=START_UNIX_US
    )
    return MadeFrame(made.record.model_copy(update=more), made.container)


async def _sequences(store: Store) -> list[int]:
    return [frame.frame_id.sequence for frame in (await store.index.page()).records]


async def test_a_frame_is_read_with_all_that_it_needs(store: Store) -> None:
    for sequence, reference in ((1, 0), (2, 1), (3, 2), (5, 2), (6, 0)):
        await store.put_frame(*_frame(sequence, reference))

    frame_ids = [_frame(sequence).frame_id for sequence in (5, 1, 2)]
    chains = await store.load_chains(frame_ids)

    assert [[(f.sequence, container) for f, container in chain] for chain in chains] == [
        [(1, b"1"), (2, b"2")],
        [],
        [(1, b"1")],
    ]
    assert [(await store.get_frame(f)).depth for f in frame_ids] == [2, 0, 1]


async def test_a_reference_that_is_not_stored_is_refused(store: Store) -> None:
    with pytest.raises(ReferenceRefusedError, match="reference 1 is not stored"):
        await store.put_frame(*_frame(2, 1))

    assert await _sequences(store) == []


async def test_a_reference_that_has_failed_is_refused(store: Store) -> None:
    await store.put_frame(*_frame(1))
    await store.set_failed(_frame(1).frame_id, "section 2 does not decode")

    with pytest.raises(ReferenceRefusedError, match="has failed"):
        await store.put_frame(*_frame(2, 1))


async def test_a_reference_of_another_camera_or_start_is_none(store: Store) -> None:
    await store.put_frame(*make_frame(1, camera_id="yard"))
    await store.put_frame(*make_frame(1, epoch=7))

    with pytest.raises(ReferenceRefusedError):
        await store.put_frame(*_frame(2, 1))


async def test_a_frame_needs_at_most_so_many(client: Redis) -> None:
    store = Store(client, max_reference_depth=2)
    for sequence in (1, 2, 3):
        await store.put_frame(*_frame(sequence, sequence - 1))

    with pytest.raises(ReferenceRefusedError, match="reference 3 needs 2 frames already"):
        await store.put_frame(*_frame(4, 3))
    assert await store.put_frame(*_frame(5, 2))


async def test_a_live_frame_needs_none_of_long_ago_and_a_late_one_may(store: Store) -> None:
    late_us = START_UNIX_US + 1_000_000 * (keys.MAX_TREE_SECONDS + 1)
    await store.put_frame(*_frame(1, stored_us=START_UNIX_US))
    await store.put_frame(*_frame(2, 1, stored_us=late_us - 2_000_000))

    with pytest.raises(ReferenceRefusedError, match="of more than 3600 s ago"):
        await store.put_frame(*_frame(3, 2, stored_us=late_us))
    assert await store.put_frame(*_frame(3, 2, stored_us=late_us, lane=Lane.BACKFILL))


async def test_a_frame_that_was_sent_twice_is_stored_once(client: Redis, store: Store) -> None:
    await store.put_frame(*_frame(1))

    assert [await store.put_frame(*_frame(2, 1)) for _ in range(2)] == [True, False]

    assert await client.llen(f"{keys.TREE}{_frame(1).frame_id}") == 1


async def test_a_tree_goes_when_the_newest_of_it_is_too_old(client: Redis) -> None:
    now_us = START_UNIX_US
    store = Store(client, retention_seconds=10, clock=lambda: now_us)
    for sequence, reference, after in ((1, 0, 0), (2, 1, 8), (3, 0, 0), (4, 2, 12)):
        stored_us = START_UNIX_US + 1_000_000 * after
        await store.put_frame(*_frame(sequence, reference, stored_us=stored_us))

    now_us += 11_000_000
    assert (await store.retention.sweep(), await _sequences(store)) == (1, [4, 2, 1])
    now_us += 8_000_000
    assert (await store.retention.sweep(), await _sequences(store)) == (0, [4, 2, 1])
    now_us += 4_000_000
    assert (await store.retention.sweep(), await _sequences(store)) == (3, [])

    left = [key async for key in client.scan_iter("slim:*")]
    assert not [key for key in left if key.startswith((b"slim:tree:", b"slim:frame:"))]
    assert (await store.totals()).removed == 4


async def test_the_oldest_tree_goes_whole_when_too_many_bytes_are_held(client: Redis) -> None:
    store = Store(client, max_stored_bytes=250, frame_bytes=0, clock=lambda: START_UNIX_US)
    for sequence, reference in ((1, 0), (2, 1), (3, 1), (4, 0), (5, 4)):
        made = _frame(sequence, reference)
        record = made.record.model_copy(update={"base_bytes": 60})
        await store.put_frame(record, bytes(60))

    assert await store.retention.sweep() == 3

    assert await _sequences(store) == [5, 4]
    assert (await store.totals()).stored_bytes == 120


async def test_a_long_tree_is_removed_in_steps_and_takes_no_more_frames(client: Redis) -> None:
    store = Store(client, retention_seconds=10, clock=lambda: START_UNIX_US + 11_000_000)
    await store.put_frame(*_frame(1))
    for sequence in range(2, 130):
        await store.put_frame(*_frame(sequence, 1))
    await client.sadd(keys.FELLED, str(_frame(1).frame_id))  # a step of it was done

    with pytest.raises(ReferenceRefusedError):
        await store.put_frame(*_frame(130, 1))
    assert await store.retention.sweep() == 129

    assert await _sequences(store) == []
    assert await client.exists(keys.FELLED) == 0


async def test_a_frame_in_a_circle_is_read_to_no_end(client: Redis, store: Store) -> None:
    await store.put_frame(*_frame(1))
    await store.put_frame(*_frame(2, 1))
    await client.hset(f"{keys.FRAME}{_frame(1).frame_id}", "reference_sequence", 2)

    (chain,) = await store.load_chains([_frame(2).frame_id])

    assert len(chain) == keys.MAX_DEPTH + 1
