"""The maker of events reads the feed once, whoever dies between reading and storing."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from slimcloud.event_runner import EventMetrics, EventRunner
from slimcloud.events.event import Event, EventState
from slimcloud.events.grouping import CameraEvents
from slimcloud.settings import CloudSettings
from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.zones.rules import CameraRules
from slimcodec.detection import Detection
from slimops.metrics import Metrics
from support.cloud.frames import START_UNIX_US, make_frame, make_result

PERIOD_US = 250_000
DAY_US = 24 * 3600 * 1_000_000


class DiesBeforeItsCommit(EventRunner):
    async def _commit(self, told: object) -> None:
        raise KeyboardInterrupt


def runner(store: Store, kind: type[EventRunner] = EventRunner) -> EventRunner:
    return kind(store, CloudSettings(), EventMetrics(Metrics("cloud")))


async def walk(store: Store, sequences: Sequence[int], *, lane: str = "live", x: float = 0) -> None:
    """A person walks, eight pixels a frame."""
    for sequence in sequences:
        made = make_frame(
            sequence, image_hw=(96, 400), lane=lane, capture_us=START_UNIX_US + sequence * PERIOD_US
        )
        await store.put_frame(*made)
        left = x + 8.0 * sequence
        found = Detection((left, 20, left + 20, 80), 0.9, 0, "person")
        await store.put_detections(made.frame_id, replace(make_result(), detections=(found,)))


async def told(store: Store) -> list[tuple[FeedKind, str]]:
    """What the feed says of events."""
    entries = await store.feed.read("0-0", count=1000)
    return [(e.kind, e.detail) for e in entries if e.kind.value.startswith("event.")]


async def events(store: Store) -> list[Event]:
    return list((await store.event_index.page()).records)


async def test_a_walk_is_told_and_stored(store: Store) -> None:
    maker = runner(store)
    await maker.step()
    await walk(store, range(1, 9))
    await maker.step()

    (event,) = await events(store)

    assert (event.state, event.camera, event.late) == (EventState.ACTIVE, "gate", False)
    assert await told(store) == [(FeedKind.EVENT_BEGUN, event.event_id)]
    assert await store.event_index.picture(event.event_id)


async def test_who_dies_between_reading_and_storing_loses_and_doubles_nothing(
    store: Store, client: Redis
) -> None:
    first = runner(store)
    await first.step()
    await walk(store, range(1, 9))
    await first.step()
    await walk(store, range(9, 17))
    dying = runner(store, DiesBeforeItsCommit)
    await client.delete(keys.EVENT_RUNNER)  # the first is gone, and its lease over
    with pytest.raises(KeyboardInterrupt):
        await dying.step()
    await client.delete(keys.EVENT_RUNNER)
    last = runner(store)

    await last.step()
    assert not await first.step()  # it was only slow: nothing is its to tell any more

    (event,) = await events(store)
    begun = [detail for kind, detail in await told(store) if kind is FeedKind.EVENT_BEGUN]
    assert begun == [event.event_id]
    state = (await store.event_index.states())["gate"]
    (track,) = CameraEvents.from_json(zlib.decompress(state)).tracker.tracks
    assert track.sightings == 16


async def test_rules_hold_from_when_they_are_changed(store: Store, client: Redis) -> None:
    maker = runner(store)
    await maker.step()
    retain = {"retain": {"alert_days": 3}, "labels": {"person": {"min_score": 0.8}}}
    await store.rules.put("gate", CameraRules.model_validate(retain))
    await walk(store, range(1, 9))
    await maker.step()
    (event,) = await events(store)
    until_us = await client.zscore(keys.EVENTS_UNTIL, event.event_id)
    assert float(until_us or 0) - store.clock() == pytest.approx(3 * DAY_US, abs=60e6)

    retain["labels"] = {"person": {"min_score": 0.95}}
    await store.rules.put("gate", CameraRules.model_validate(retain))
    await walk(store, range(200, 250), x=-1600)
    await maker.step()

    assert [event.state for event in await events(store)] == [EventState.ENDED]


async def test_frames_that_come_late_make_events_for_the_record(store: Store) -> None:
    maker = runner(store)
    await maker.step()
    await walk(store, range(100, 104), x=-800)
    await walk(store, range(1, 9), lane="backfill")
    await maker.step()

    assert [event.late for event in await events(store)] == [False, True]


async def test_an_event_ends_when_its_camera_falls_silent(client: Redis) -> None:
    now_us = START_UNIX_US
    store = Store(client, clock=lambda: now_us)
    maker = runner(store)
    await maker.step()
    await walk(store, range(1, 9))
    await maker.step()

    now_us += 15_000_000
    await maker.step()
    now_us += 3_600_000_000
    await maker.step()

    (event,) = await events(store)
    assert (event.state, event.end_us) == (EventState.ENDED, START_UNIX_US + 8 * PERIOD_US)
    assert await store.event_index.states() == {}
