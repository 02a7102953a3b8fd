from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.errors import (
    FrameGoneError,
    FrameNotFoundError,
    InvalidFrameIdError,
    StoreFullError,
    StoreLostError,
)
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from support.cloud.frames import EPOCH, make_frame, make_result


@pytest.mark.parametrize("text", ["gate:000000000000a1b2:1", "a.b_C-9:ffffffffffffffff:42"])
def test_frame_id_is_written_as_it_was_read(text: str) -> None:
    assert str(FrameId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gate:a1b2:1",
        "gate:000000000000A1B2:1",
        "gate:000000000000a1b2:0",
        "gate:000000000000a1b2:01",
        "gate:000000000000a1b2:18446744073709551616",
        "ga te:000000000000a1b2:1",
        "gate:000000000000a1b2:1\n",
    ],
)
def test_text_that_is_no_frame_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidFrameIdError):
        FrameId.parse(text)


async def test_frame_comes_back_as_it_was_put(store: Store) -> None:
    frame = make_frame(1, container=b"\x9b\x00\xff")

    assert await store.put_frame(*frame)

    record = await store.get_frame(frame.frame_id)
    assert await store.get_container(frame.frame_id) == b"\x9b\x00\xff"
    assert (record.level, record.quality, record.image_hw) == (1, 2, (48, 64))
    assert record.capture_time_unix_us == frame.record.capture_time_unix_us
    assert record.state is FrameState.QUEUED
    assert record.base_bytes == 3


async def test_duplicate_changes_nothing(store: Store) -> None:
    await store.put_frame(*make_frame(1, container=b"first"))

    assert not await store.put_frame(*make_frame(1, container=b"second"))

    assert await store.get_container(make_frame(1).frame_id) == b"first"
    assert await store.work.outstanding() == 1
    totals = await store.totals()
    assert (totals.frames, totals.frame_bytes, totals.stored_bytes) == (1, 5, 5)


async def test_full_queue_refuses_and_writes_nothing(client: Redis) -> None:
    store = Store(client, max_queue_size=2)
    await store.put_frame(*make_frame(1))
    await store.put_frame(*make_frame(2))

    with pytest.raises(StoreFullError, match="2 live frames wait"):
        await store.put_frame(*make_frame(3))

    assert (await store.totals()).frames == 2
    with pytest.raises(FrameNotFoundError):
        await store.get_frame(make_frame(3).frame_id)


async def test_full_memory_refuses_and_writes_nothing(store: Store, client: Redis) -> None:
    await client.config_set("maxmemory", 2**20)
    try:
        with pytest.raises(StoreFullError, match="out of memory"):
            await store.put_frame(*make_frame(1, container=bytes(2**20)))
    finally:
        await client.config_set("maxmemory", 2**28)

    assert (await store.totals()).frames == 0
    assert await store.work.outstanding() == 0


@pytest.mark.parametrize("sequences", [(1, 3, 2), (9, 10), (2**53, 2**53 + 1, 2**64 - 1)])
async def test_highest_sequence_is_kept_over_all_64_bits(
    store: Store, sequences: tuple[int, ...]
) -> None:
    for sequence in sequences:
        await store.put_frame(*make_frame(sequence, capture_us=1))

    assert await store.highest_sequence("gate", EPOCH) == max(sequences)
    assert await store.highest_sequence("gate", EPOCH + 1) == 0


async def test_no_key_of_a_frame_ends_by_a_clock_that_may_be_set(
    store: Store, client: Redis
) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))
    await store.put_detections(frame_id, make_result())
    await store.put_enhancement(frame_id, b"more")

    for key in (
        f"{keys.FRAME}{frame_id}",
        f"{keys.DETECTIONS}{frame_id}",
        f"{keys.ENHANCEMENT}{frame_id}",
    ):
        assert await client.ttl(key) == -1  # it has none


async def test_invented_epochs_are_bounded(store: Store, client: Redis) -> None:
    for epoch in range(1, 2 * keys.EPOCHS_PER_CAMERA):
        record, container = make_frame(1, epoch=epoch)
        await store.put_frame(record.model_copy(update={"stored_us": epoch}), container)

    kept = [key async for key in client.scan_iter(f"{keys.EPOCH}gate:*")]
    assert len(kept) == keys.EPOCHS_PER_CAMERA
    assert await store.highest_sequence("gate", 2 * keys.EPOCHS_PER_CAMERA - 1) == 1
    assert await store.highest_sequence("gate", 1) == 0


async def test_detections_come_back_and_the_first_result_counts(store: Store) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))
    result = make_result(("car", 0.5), ("person", 0.9), ("car", 0.75))

    assert await store.get_detections(frame_id) is None
    assert await store.put_detections(frame_id, result)
    assert not await store.put_detections(frame_id, make_result())

    assert await store.get_detections(frame_id) == result
    record = await store.get_frame(frame_id)
    assert record.state is FrameState.DETECTED
    assert record.label_scores == {"car": 0.75, "person": 0.9}
    (event,) = await store.feed.read("0-0")
    assert (event.kind, event.frame_id) == (FeedKind.FRAME_DETECTED, frame_id)
    assert (await store.totals()).detected == 1


async def test_detections_of_a_late_frame_are_kept_and_make_no_live_event(store: Store) -> None:
    frame = make_frame(1, lane="backfill")
    await store.put_frame(*frame)
    result = make_result(("car", 0.5))

    assert await store.put_detections(frame.frame_id, result)

    assert await store.get_detections(frame.frame_id) == result
    (event,) = await store.feed.read("0-0")
    assert (event.kind, event.frame_id) == (FeedKind.FRAME_BACKFILLED, frame.frame_id)


async def test_result_of_a_frame_that_is_gone_is_not_kept(store: Store, client: Redis) -> None:
    frame_id = make_frame(1).frame_id

    assert not await store.put_detections(frame_id, make_result(("car", 0.5)))

    assert not await client.exists(f"{keys.DETECTIONS}{frame_id}")


async def test_outcome_is_noted_once_with_its_reason(store: Store) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1))

    assert await store.set_dropped(frame_id, "too late")
    assert not await store.set_failed(frame_id, "broken")

    record = await store.get_frame(frame_id)
    assert (record.state, record.reason) == (FrameState.DROPPED, "too late")
    totals = await store.totals()
    assert (totals.dropped, totals.failed) == (1, 0)


async def test_enhancement_is_kept_and_counted_once(store: Store) -> None:
    frame_id = make_frame(1).frame_id
    await store.put_frame(*make_frame(1, container=b"base"))

    assert await store.get_enhancement(frame_id) is None
    assert await store.put_enhancement(frame_id, b"enhance")
    assert not await store.put_enhancement(frame_id, b"again")

    assert await store.get_enhancement(frame_id) == b"enhance"
    assert (await store.get_frame(frame_id)).enhancement_bytes == 7
    totals = await store.totals()
    assert (totals.enhancement_bytes, totals.stored_bytes) == (7, 11)


async def test_enhancement_without_its_frame_is_refused(store: Store) -> None:
    with pytest.raises(FrameNotFoundError):
        await store.put_enhancement(make_frame(1).frame_id, b"enhance")


async def test_removed_frame_is_gone_and_not_unknown(store: Store) -> None:
    await store.put_frame(*make_frame(1))

    await store.retention.remove(make_frame(1).frame_id)

    for ask in (store.get_frame, store.get_container, store.get_detections):
        with pytest.raises(FrameGoneError):
            await ask(make_frame(1).frame_id)
    with pytest.raises(FrameNotFoundError):
        await store.get_frame(make_frame(2).frame_id)


async def test_store_keeps_its_name_until_it_is_emptied(store: Store, client: Redis) -> None:
    name = await store.store_id()

    assert await store.store_id() == await Store(client).store_id() == name

    await client.flushall()

    assert await store.store_id() not in {"", name}


async def test_frame_is_not_stored_in_another_store_than_was_meant(
    store: Store, client: Redis
) -> None:
    name = await store.store_id()
    assert await store.put_frame(*make_frame(1), store_id=name)
    await client.flushall()

    for _ in range(2):  # also once it has a new name
        with pytest.raises(StoreLostError):
            await store.put_frame(*make_frame(2), store_id=name)
        await store.store_id()

    assert await store.persisted("gate", EPOCH, [1, 2]) == []
