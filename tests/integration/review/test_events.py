"""The API of events: lists, counts, marks, moments, and previews that outlive their frames."""

from __future__ import annotations

import json

import pytest

from slimcloud.events.event import Event, EventState, event_id_of
from slimcloud.frame_id import FrameId
from slimcloud.store.events.event_index import ToldEvent
from slimcloud.store.feed import FeedKind
from slimcloud.zones.rules import Severity
from support.cloud.review import PERIOD_US, START_UNIX_US, ReviewWorld, served

URL = "/api/v1/events"


async def put(review: ReviewWorld, frame_id: FrameId, *labels: str, number: int = 1) -> Event:
    """An event of frames 1 to 40 begins."""
    begin_us = START_UNIX_US + number * PERIOD_US
    event = Event(
        event_id=event_id_of("gate-1", begin_us, number),
        camera="gate-1",
        labels=labels,
        zones=("door",),
        begin_us=begin_us,
        end_us=START_UNIX_US + 40 * PERIOD_US,
        severity=Severity.ALERT if "person" in labels else Severity.DETECTION,
        state=EventState.ENDED,
        objects=1,
        score=0.75,
        best_frame_id=frame_id,
        best_box=(0.25, 0.5, 0.375, 0.75),
        path=((0.25, 0.5), (0.5, 0.5)),
    )
    index = review.store.event_index
    before = await index.lead("test")
    assert before is not None
    told = [ToldEvent(FeedKind.EVENT_BEGUN, event, 2**60)]
    assert await index.commit("test", before, f"{number}-0", {}, told)
    return event


async def test_events_are_listed_counted_and_marked(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    person = await put(review, frame_id, "person", "car")
    car = await put(review, frame_id, "car", number=2)

    page = (await review.http.get(f"{URL}?limit=1&camera=gate-1&camera=attic")).json()
    rest = (await review.http.get(f"{URL}?limit=1&cursor={page['next_cursor']}")).json()
    persons = (await review.http.get(f"{URL}?label=person&label=bicycle&severity=alert")).json()
    counts = (await review.http.get(f"{URL}/counts?zone=door")).json()
    marked = await review.http.put(
        f"{URL}/review", json={"event_ids": [car.event_id, "gone"], "reviewed": True}
    )
    left = (await review.http.get(f"{URL}?reviewed=false&since=2026-01-01T00:00:00Z")).json()

    assert [event["event_id"] for event in page["events"] + rest["events"]] == [
        car.event_id,
        person.event_id,
    ]
    assert persons["events"] == left["events"]
    assert (await review.http.get(f"{URL}/{person.event_id}")).json() == persons["events"][0] == {
        "event_id": person.event_id,
        "camera": "gate-1",
        "labels": ["person", "car"],
        "zones": ["door"],
        "begin": "2026-05-28T20:26:40.100000Z",
        "end": "2026-05-28T20:26:44Z",
        "severity": "alert",
        "state": "ended",
        "objects": 1,
        "score": 0.75,
        "best_frame_id": str(frame_id),
        "best_box": [0.25, 0.5, 0.375, 0.75],
        "path": [[0.25, 0.5], [0.5, 0.5]],
        "reviewed": False,
        "late": False,
    }  # fmt: skip
    assert counts == {
        "labels": {"car": 2, "person": 1},
        "zones": {"door": 2},
        "cameras": {"gate-1": 2},
        "severities": {"alert": 1, "detection": 1},
        "unreviewed": 2,
    }
    assert marked.json() == {"event_ids": [car.event_id]}
    assert (await review.http.get(f"/api/v1/frames/{frame_id}")).json()["mark"] == "open"


@pytest.mark.parametrize("query", ["label=persn", "severity=loud", "since=now", "frames=true"])
async def test_what_nobody_knows_is_422(review: ReviewWorld, query: str) -> None:
    assert (await review.http.get(f"{URL}?{query}")).status_code == 422


async def test_an_event_that_is_not_there_is_404(review: ReviewWorld) -> None:
    answers = [
        await review.http.get(f"{URL}/gate-1.0.1{of}") for of in ("", "/preview", "/moments")
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].json()["type"] == "urn:slimwire:problem:event-not-found"


async def test_moments_are_spread_over_its_time(review: ReviewWorld) -> None:
    for sequence in range(0, 50, 2):
        await review.send(sequence + 1)
    event = await put(review, FrameId("gate-1", 1, 1), "car", number=3)

    moments = (await review.http.get(f"{URL}/{event.event_id}/moments?detections=true")).json()

    sequences = [frame["sequence"] for frame in moments["frames"]]
    assert (sequences[0], sequences[-1], len(sequences)) == (3, 39, 12)
    assert moments["frames"][0]["detections"] == []


async def test_a_preview_is_that_of_the_best_frame_and_outlives_it(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    event = await put(review, frame_id, "car")
    url = f"{URL}/{event.event_id}/preview"

    of_frame = await review.http.get(f"/api/v1/frames/{frame_id}/preview")
    of_event = await review.http.get(url)
    again = await review.http.get(url, headers={"If-None-Match": of_event.headers["ETag"]})
    await review.store.retention.remove(frame_id)
    later = await review.http.get(url)

    assert of_frame.content == of_event.content == later.content
    assert of_frame.headers["ETag"] == of_event.headers["ETag"]
    assert again.status_code == 304
    assert later.headers["content-type"] == "image/jpeg"


async def test_a_best_frame_that_could_not_be_kept_is_gone(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    await review.store.retention.remove(frame_id)
    event = await put(review, frame_id, "car")

    assert (await review.http.get(f"{URL}/{event.event_id}/preview")).status_code == 410


async def test_the_feed_tells_of_events_and_gives_them_to_who_wants(review: ReviewWorld) -> None:
    start = {"Last-Event-ID": await review.store.feed.latest_id()}
    event = await put(review, await review.send(1), "car")

    async with served(review) as http:
        listed = (await http.get(f"{URL}/{event.event_id}")).json()
        async with http.stream("GET", f"{URL}/stream?frames=true", headers=start) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:") and event.event_id in line:
                    told = json.loads(line.removeprefix("data:"))
                    break

    assert (told["camera"], told["detail"], told["event"]) == ("gate-1", event.event_id, listed)
