"""Events in Redis: pages, counts, marks, pictures that outlive their frames, and their end."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.errors import EventNotFoundError
from slimcloud.events.event import Event, EventState, event_id_of
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.events.event_index import EventFilter, EventIndex, ToldEvent
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.zones.rules import Severity
from support.cloud.frames import EPOCH, START_UNIX_US, make_frame

RUNNER = "runner"
FOR_EVER = 2**60


def make_event(number: int, *, camera: str = "gate", label: str = "person") -> Event:
    begin_us = START_UNIX_US + 1_000_000 * number
    return Event(
        event_id=event_id_of(camera, begin_us, number),
        camera=camera,
        labels=(label,),
        zones=("door",) if number % 2 else (),
        begin_us=begin_us,
        end_us=begin_us + 500_000,
        severity=Severity.ALERT if label == "person" else Severity.DETECTION,
        state=EventState.ENDED,
        objects=1,
        score=0.9,
        best_frame_id=FrameId("gate", EPOCH, 2),
        best_box=(0.1, 0.2, 0.3, 0.4),
    )


async def put(index: EventIndex, *events: Event, until_us: int = FOR_EVER) -> None:
    before = await index.lead(RUNNER)
    assert before is not None
    told = [ToldEvent(FeedKind.EVENT_ENDED, event, until_us) for event in events]
    assert await index.commit(RUNNER, before, f"{before or '0-'}1", {}, told)


async def test_pages_are_newest_first_and_filtered(store: Store) -> None:
    index = store.event_index
    events = [make_event(i, label="car" if i == 3 else "person") for i in range(5)]
    await put(index, *events, make_event(9, camera="yard"))

    first = await index.page(EventFilter(cameras=["gate"]), limit=3)
    rest = await index.page(EventFilter(cameras=["gate"]), limit=3, cursor=first.next_cursor)
    cars = await index.page(EventFilter(labels=["car", "bus"], zones=["door"]))
    early = await index.page(EventFilter(until_us=events[1].begin_us))
    both = await index.page(EventFilter(cameras=["gate", "yard"]), limit=1)

    assert [*first.records, *rest.records] == events[::-1]
    assert rest.next_cursor is None
    assert cars.records == [events[3]]
    assert early.records == [events[0]]
    assert both.records[0].camera == "yard"
    with pytest.raises(EventNotFoundError):
        await index.get("gate.0.1")


async def test_counts_are_of_what_matches(store: Store) -> None:
    await put(
        store.event_index, *(make_event(i, label="car" if i < 2 else "person") for i in range(5))
    )

    counts = await store.event_index.counts(EventFilter(labels=["car"]))

    assert (counts.labels, counts.zones, counts.cameras) == ({"car": 2}, {"door": 1}, {"gate": 2})
    assert (counts.severities, counts.unreviewed) == ({"detection": 2}, 2)


async def test_a_mark_stays_when_the_event_changes_and_marks_nothing_else(store: Store) -> None:
    index, (one, other) = store.event_index, (make_event(1), make_event(2))
    await put(index, one, other)

    assert await index.review([one.event_id, "gate.0.7"], "ann", reviewed=True) == [one.event_id]
    await put(index, one.model_copy(update={"objects": 3}))

    open_events = await index.page(EventFilter(reviewed=False))
    assert open_events.records == [other]
    assert (await index.get(one.event_id)).objects == 3
    assert (await index.get(one.event_id)).reviewed


async def test_a_picture_outlives_the_frames_that_it_takes(store: Store) -> None:
    intra, inter = make_frame(1, container=b"intra"), make_frame(2, container=b"inter", reference=1)
    for made in (intra, inter):
        await store.put_frame(*made)
    event = make_event(1)
    await put(store.event_index, event)

    await store.retention.remove(intra.frame_id)
    await put(store.event_index, event)  # its end: the frames are gone, the picture stays

    kept = await store.event_index.picture(event.event_id)
    assert kept == ((intra.frame_id, b"intra"), (inter.frame_id, b"inter"))


async def test_bytes_are_counted_with_those_of_frames_and_given_back(
    store: Store, client: Redis
) -> None:
    made = make_frame(2, container=bytes(5000))
    await store.put_frame(*made)
    before = (await store.totals()).stored_bytes

    await put(store.event_index, make_event(1), until_us=1000)
    held = (await store.totals()).stored_bytes - before

    assert 5000 + keys.BYTES_OF_EVENT < held < 7000
    assert await store.event_index.sweep(999) == 0
    assert await store.event_index.sweep(1000) == 1
    assert (await store.totals()).stored_bytes == before
    left = {b"slim:event-bytes", b"slim:event-position", b"slim:event-runner"}
    assert set(await client.keys("slim:event*")) == left | {b"slim:events"}


async def test_what_would_go_next_goes_first_where_there_are_too_many_bytes(client: Redis) -> None:
    index = EventIndex(client, max_bytes=3000)
    alerts, cars = [make_event(i) for i in (1, 2)], [make_event(i, label="car") for i in (3, 4)]
    await put(index, *alerts, until_us=3000)
    await put(index, *cars, until_us=2000)

    assert await index.sweep(0) == 2

    assert (await index.page()).records == alerts[::-1]


async def test_one_process_leads_until_its_lease_ends(store: Store, client: Redis) -> None:
    index = store.event_index
    assert await index.lead("first") == ""
    assert await index.lead("second") is None

    await client.delete(keys.EVENT_RUNNER)  # as when its time is over

    assert await index.lead("second") == ""
    assert not await index.commit("first", "", "5-0", {}, [])
    assert await index.commit("second", "", "5-0", {"gate": b"state"}, [])
    assert not await index.commit("second", "", "6-0", {}, [])
    assert await index.lead("second") == "5-0"
    assert await index.states() == {"gate": b"state"}
