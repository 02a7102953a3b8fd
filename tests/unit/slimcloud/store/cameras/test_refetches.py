from __future__ import annotations

import pytest

from slimcloud.errors import RequestNotFoundError
from slimcloud.store.cameras.refetches import RefetchState
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from support.cloud.frames import EPOCH, make_frame

FRAME_ID = make_frame(1).frame_id


async def test_request_is_pending_then_sent_then_done(store: Store) -> None:
    await store.put_frame(*make_frame(1))

    asked = await store.refetches.request(FRAME_ID)
    assert asked.state is RefetchState.PENDING

    (told,) = await store.refetches.take("gate", EPOCH)
    assert told.request_id == asked.request_id
    assert (await store.refetches.get(asked.request_id)).state is RefetchState.SENT

    await store.put_enhancement(FRAME_ID, b"more", asked.request_id)
    assert (await store.refetches.get(asked.request_id)).state is RefetchState.DONE
    kinds = [event.kind for event in await store.feed.read("0-0")]
    assert kinds == [FeedKind.REFETCH_REQUESTED, FeedKind.ENHANCEMENT_STORED]


async def test_second_request_for_a_frame_is_the_first_one(store: Store) -> None:
    first = await store.refetches.request(FRAME_ID)

    second = await store.refetches.request(FRAME_ID)

    assert second.request_id == first.request_id
    assert len(await store.refetches.take("gate", EPOCH)) == 1


async def test_request_is_handed_out_once(store: Store) -> None:
    await store.refetches.request(FRAME_ID)

    assert len(await store.refetches.take("gate", EPOCH)) == 1
    assert await store.refetches.take("gate", EPOCH) == []


async def test_what_a_broken_stream_may_have_swallowed_is_told_again(store: Store) -> None:
    asked = await store.refetches.request(FRAME_ID)
    await store.refetches.take("gate", EPOCH)

    await store.refetches.ask_again("gate")

    (again,) = await store.refetches.take("gate", EPOCH)
    assert again.request_id == asked.request_id


@pytest.mark.parametrize("answer", ["enhancement", "refusal"])
async def test_what_is_answered_is_not_told_again(store: Store, answer: str) -> None:
    await store.put_frame(*make_frame(1))
    asked = await store.refetches.request(FRAME_ID)
    await store.refetches.take("gate", EPOCH)
    if answer == "enhancement":
        await store.put_enhancement(FRAME_ID, b"more", asked.request_id)
    else:
        await store.refetches.refuse("gate", asked.request_id, "left the ring buffer")

    await store.refetches.ask_again("gate")

    assert await store.refetches.take("gate", EPOCH) == []


async def test_narrow_enhancement_is_no_answer_to_a_request_for_all(store: Store) -> None:
    await store.put_frame(*make_frame(1))
    narrow = await store.refetches.request(FRAME_ID, level=1)
    everything = await store.refetches.request(FRAME_ID)

    await store.put_enhancement(FRAME_ID, b"some", narrow.request_id, level=1)
    assert (await store.refetches.get(narrow.request_id)).state is RefetchState.DONE
    assert (await store.refetches.get(everything.request_id)).state is RefetchState.PENDING

    await store.put_enhancement(FRAME_ID, b"more", everything.request_id, level=3)
    assert (await store.refetches.get(everything.request_id)).state is RefetchState.DONE


async def test_request_for_an_earlier_epoch_is_refused(store: Store) -> None:
    asked = await store.refetches.request(FRAME_ID)

    assert await store.refetches.take("gate", EPOCH + 1) == []

    answered = await store.refetches.get(asked.request_id)
    assert answered.state is RefetchState.REFUSED
    assert "restarted" in answered.detail


async def test_refused_request_may_be_made_anew(store: Store) -> None:
    first = await store.refetches.request(FRAME_ID)
    await store.refetches.refuse("gate", first.request_id, "left the ring buffer")

    second = await store.refetches.request(FRAME_ID)

    assert second.request_id != first.request_id
    assert second.state is RefetchState.PENDING


async def test_camera_cannot_refuse_for_another(store: Store) -> None:
    asked = await store.refetches.request(FRAME_ID)

    await store.refetches.refuse("intruder", asked.request_id, "no")

    assert (await store.refetches.get(asked.request_id)).state is RefetchState.PENDING


async def test_unknown_request_is_not_found(store: Store) -> None:
    with pytest.raises(RequestNotFoundError):
        await store.refetches.get("0" * 32)
