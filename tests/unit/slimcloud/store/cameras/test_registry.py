from __future__ import annotations

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.frames import Store
from support.cloud.frames import EPOCH, START_UNIX_US, make_frame, make_result


async def test_camera_state_tells_what_came_last(store: Store) -> None:
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    await store.put_frame(*make_frame(1, container=b"12345"))
    await store.put_frame(*make_frame(2, container=b"123"))

    (state,) = await store.cameras.list()

    assert state.connected
    assert (state.camera_id, state.epoch, state.model_name) == ("gate", EPOCH, "toy/1")
    assert state.last_frame_id == make_frame(2).frame_id
    assert (state.frames_total, state.bytes_total) == (2, 8)
    assert (state.level, state.quality) == (1, 2)


async def test_frame_that_comes_late_is_not_the_newest(store: Store) -> None:
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    await store.put_frame(*make_frame(2))
    await store.put_frame(*make_frame(1, lane="backfill"))

    (state,) = await store.cameras.list()

    assert state.last_frame_id == make_frame(2).frame_id
    assert state.frames_total == 2


async def test_only_the_connection_that_holds_a_camera_lets_it_go(store: Store) -> None:
    await store.cameras.connect("gate", epoch=1, model_name="toy/1", connection="old")
    await store.cameras.connect("gate", epoch=2, model_name="toy/1", connection="new")

    assert not await store.cameras.disconnect("gate", "old")
    (held,) = await store.cameras.list()
    assert (held.connected, held.epoch) == (True, 2)

    assert await store.cameras.disconnect("gate", "new")
    (left,) = await store.cameras.list()
    assert not left.connected


async def test_camera_is_offline_when_the_process_that_held_it_is_gone(
    store: Store, client: Redis
) -> None:
    ingest, review = store.cameras, Store(client).cameras

    async def seen() -> bool:
        (state,) = await review.list()
        return state.connected

    await ingest.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    held = await seen()
    (lease,) = await client.keys(f"{keys.INGEST}*")
    lives_seconds = await client.ttl(lease)
    await client.delete(lease)  # as time does where nobody renews it
    left = await seen()
    await ingest.renew_lease()

    assert (held, left, await seen()) == (True, False, True)
    assert 0 < lives_seconds <= 15


async def test_camera_of_a_process_without_a_lease_is_connected(
    store: Store, client: Redis
) -> None:
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    await client.hdel(f"{keys.CAMERA}gate", "ingest")  # as an older ingest wrote it

    (state,) = await store.cameras.list()
    assert state.connected


async def test_unknown_camera_has_no_state(store: Store) -> None:
    assert await store.cameras.get("nowhere") is None


async def test_bytes_of_the_day_begin_anew_at_midnight_utc(client: Redis) -> None:
    midnight_us = 20_000 * 24 * 3600 * 1_000_000
    now_us = midnight_us - 1
    store = Store(client, clock_unix_us=lambda: now_us)
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    await store.put_frame(*make_frame(1, container=b"12345", received_us=now_us))
    await store.put_enhancement(make_frame(1).frame_id, b"123", level=1)
    before = await store.cameras.get("gate")

    now_us = midnight_us
    at_midnight = await store.cameras.get("gate")
    await store.put_enhancement(make_frame(1).frame_id, b"1234567", level=15)
    await store.put_frame(*make_frame(2, container=b"12", received_us=now_us))
    after = await store.cameras.get("gate")

    assert before is not None
    assert at_midnight is not None
    assert after is not None
    assert [state.bytes_today for state in (before, at_midnight, after)] == [8, 0, 9]


async def test_lag_is_that_of_the_newest_detected_frame(store: Store) -> None:
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    detected_us = make_result().detected_time_unix_us
    await store.put_frame(*make_frame(1, capture_us=detected_us - 9_000_000))
    await store.put_frame(*make_frame(2, capture_us=detected_us - 250_000))
    await store.put_frame(*make_frame(3, capture_us=detected_us))
    before = await store.cameras.get("gate")

    for sequence in (1, 2):
        await store.put_detections(make_frame(sequence).frame_id, make_result())
    after = await store.cameras.get("gate")

    assert before is not None
    assert after is not None
    assert (before.lag_seconds, after.lag_seconds) == (None, 0.25)


async def test_camera_is_starved_while_its_frames_come_and_none_is_detected(client: Redis) -> None:
    now = 0.0
    store = Store(client, clock=lambda: START_UNIX_US + round(1e6 * now))
    await store.work.prepare()

    async def condition(sequence: int = 0) -> str:
        if sequence:
            await store.put_frame(*make_frame(sequence, received_us=store.clock()))
        (state,) = await store.cameras.list()
        return state.condition(store.clock())

    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    assert await condition(1) == "live"
    now = 25.0
    assert await condition() == "silent"
    assert await condition(2) == "live"
    now = 31.0
    assert await condition() == "starved"
    await store.put_detections(make_frame(2).frame_id, make_result())
    assert await condition() == "live"
    now = 90.0
    assert await condition(3) == "live", "nothing waited while it was silent"
    await store.cameras.disconnect("gate", "one")
    assert await condition() == "offline"


async def test_camera_that_is_forgotten_is_as_new(store: Store) -> None:
    for name in ("gate", "yard"):
        await store.cameras.connect(name, epoch=EPOCH, model_name="toy/1", connection="one")
        await store.cameras.set_weight(name, 2)

    await store.cameras.forget("gate")

    assert [state.camera_id for state in await store.cameras.list()] == ["yard"]
    assert await store.cameras.weights() == {"yard": 2.0}
