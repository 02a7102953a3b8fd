"""A person sets what of a camera is reported; the feed tells, and one of two who do is told."""

from __future__ import annotations

from typing import Any

import pytest

from slimcloud.store.feed import FeedKind
from slimcloud.zones.rules import CameraRules
from support.cloud.review import EPOCH, ReviewWorld

URL = "/api/v1/cameras/gate-1/rules"
YARD = {"name": "yard", "points": [[0, 0.5], [1, 0.5], [1, 1]]}


@pytest.fixture
async def known(review: ReviewWorld) -> ReviewWorld:
    """A camera was here."""
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    return review


async def test_rules_are_read_changed_and_told(known: ReviewWorld) -> None:
    before = (await known.http.get(URL)).json()

    put = await known.http.put(URL, json=before | {"zones": [YARD], "alerts": {"zones": ["yard"]}})

    assert (before["zones"], before["version"], before["editable"]) == ([], 0, True)
    assert before["alerts"] == {"labels": ["person"], "zones": None}
    assert put.status_code == 200
    assert put.json() == (await known.http.get(URL)).json()
    assert put.json()["zones"] == [YARD | {"labels": None, "loiter_seconds": 0}]
    assert (await known.store.rules.get("gate-1")).rules.zones[0].name == "yard"
    (entry,) = await known.store.feed.read("0-0")
    assert (entry.kind, entry.camera_id, entry.detail) == (FeedKind.RULES_CHANGED, "gate-1", "1")


@pytest.mark.parametrize(
    ("body", "location", "detail"),
    [
        ({"zones": [YARD, YARD]}, "body", "two zones are called 'yard'"),
        ({"masks": [{"points": [[0, 0], [1, 0]]}]}, "body.masks.0.points", "at least 3 items"),
        ({"report": {"labels": ["zebra crossing"]}}, "body", "the detector has no label"),
        ({"mask": []}, "body.mask", "Extra inputs"),
    ],
)
async def test_wrong_rules_are_refused_with_what_to_do(
    known: ReviewWorld, body: dict[str, Any], location: str, detail: str
) -> None:
    answer = await known.http.put(URL, json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == location
    assert detail in answer.json()["errors"][0]["detail"]


async def test_who_changes_what_was_changed_meanwhile_is_told(known: ReviewWorld) -> None:
    seen = (await known.http.get(URL)).json()
    await known.http.put(URL, json={"zones": [YARD]})

    answer = await known.http.put(URL, json=seen)

    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:slimwire:problem:rules-replaced"


async def test_rules_in_the_operators_file_are_not_changed_here(known: ReviewWorld) -> None:
    await known.store.rules.put_file({"gate-1": CameraRules()})

    answer = await known.http.put(URL, json={"zones": [YARD]})

    assert answer.status_code == 409
    assert "operator's file" in answer.json()["detail"]
    assert (await known.http.get(URL)).json()["editable"] is False


async def test_camera_that_was_never_seen_has_none(review: ReviewWorld) -> None:
    for answer in (await review.http.get(URL), await review.http.put(URL, json={})):
        assert answer.status_code == 404
