from __future__ import annotations

from slimcloud.store import Store
from support.frames import EPOCH, make_frame


async def test_camera_state_tells_what_came_last(store: Store) -> None:
    await store.cameras.connect("gate", epoch=EPOCH, model_name="toy/1", connection="one")
    await store.put_frame(make_frame(1, container=b"12345"))
    await store.put_frame(make_frame(2, container=b"123"))

    (state,) = await store.cameras.list()

    assert state.connected
    assert (state.camera_id, state.epoch, state.model_name) == ("gate", EPOCH, "toy/1")
    assert state.last_frame_id == make_frame(2).frame_id
    assert (state.frames_total, state.bytes_total) == (2, 8)
    assert (state.level, state.quality) == (1, 2)


async def test_only_the_connection_that_holds_a_camera_lets_it_go(store: Store) -> None:
    await store.cameras.connect("gate", epoch=1, model_name="toy/1", connection="old")
    await store.cameras.connect("gate", epoch=2, model_name="toy/1", connection="new")

    assert not await store.cameras.disconnect("gate", "old")
    assert await store.cameras.epoch("gate") == 2

    assert await store.cameras.disconnect("gate", "new")
    assert await store.cameras.epoch("gate") is None


async def test_unknown_camera_has_no_state(store: Store) -> None:
    assert await store.cameras.get("nowhere") is None
