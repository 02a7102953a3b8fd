"""The event log, beside a newer build that writes kinds which this one does not know."""

from __future__ import annotations

from redis.asyncio import Redis

from slimcloud.review.event_feed import EventFeed
from slimcloud.store import keys
from slimcloud.store.events import EventKind, EventLog


async def test_reader_gets_past_a_hundred_events_of_a_newer_build(client: Redis) -> None:
    log = EventLog(client)
    for _ in range(101):
        await client.xadd(keys.EVENTS, {"kind": "camera.dreamed", "camera_id": "gate"})
    last = await log.add(EventKind.CAMERA_CONNECTED, "gate")

    first = await log.read("0-0", count=100)
    rest = await log.read(first[-1].event_id, count=100)

    assert {event.kind for event in first} == {EventKind.UNKNOWN}
    assert rest[-1].event_id == last
    assert rest[-1].kind is EventKind.CAMERA_CONNECTED


async def test_listener_is_told_known_events_only(client: Redis) -> None:
    log = EventLog(client)
    await client.xadd(keys.EVENTS, {"kind": "camera.dreamed", "camera_id": "gate"})
    await log.add(EventKind.CAMERA_CONNECTED, "gate")
    feed = EventFeed(log)

    events = feed.listen("0-0")
    event = await anext(events)
    feed.stop()

    assert event.kind is EventKind.CAMERA_CONNECTED
    await events.aclose()  # type: ignore[attr-defined]  # it is an async generator
