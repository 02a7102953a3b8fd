"""The feed, beside a newer build that writes kinds which this one does not know."""

from __future__ import annotations

from redis.asyncio import Redis

from slimcloud.review.feed_tail import FeedTail
from slimcloud.store import keys
from slimcloud.store.feed import Feed, FeedKind


async def test_reader_gets_past_a_hundred_events_of_a_newer_build(client: Redis) -> None:
    log = Feed(client)
    for _ in range(101):
        await client.xadd(keys.FEED, {"kind": "camera.dreamed", "camera_id": "gate"})
    last = await log.add(FeedKind.CAMERA_CONNECTED, "gate")

    first = await log.read("0-0", count=100)
    rest = await log.read(first[-1].entry_id, count=100)

    assert {event.kind for event in first} == {FeedKind.UNKNOWN}
    assert rest[-1].entry_id == last
    assert rest[-1].kind is FeedKind.CAMERA_CONNECTED


async def test_listener_is_told_known_events_only(client: Redis) -> None:
    log = Feed(client)
    await client.xadd(keys.FEED, {"kind": "camera.dreamed", "camera_id": "gate"})
    await log.add(FeedKind.CAMERA_CONNECTED, "gate")
    feed = FeedTail(log)

    events = feed.listen("0-0")
    event = await anext(events)
    feed.stop()

    assert event.kind is FeedKind.CAMERA_CONNECTED
    await events.aclose()  # type: ignore[attr-defined]  # it is an async generator
