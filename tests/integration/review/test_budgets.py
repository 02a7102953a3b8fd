"""A person asks a camera to keep to another byte budget."""

import pytest

from slimcontrol.budget import Budget
from support.cloud.review import EPOCH, ReviewWorld

URL = "/api/v1/cameras/gate-1/budget"
DAILY = {"container_bytes": 50_000_000, "period_seconds": 86_400}


@pytest.fixture
async def known(review: ReviewWorld) -> ReviewWorld:
    """A camera was here that keeps to a rate."""
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    await review.store.budgets.state("gate-1", Budget(9_000, 1))
    return review


async def test_wish_is_told_to_the_camera_and_its_answer_is_shown(known: ReviewWorld) -> None:
    before = (await known.http.get(URL)).json()

    asked = await known.http.put(URL, json=DAILY)
    taken = await known.store.budgets.take("gate-1")
    assert taken is not None
    await known.store.budgets.accept("gate-1", taken.request_id)
    after = (await known.http.get(URL)).json()

    rate = {"container_bytes": 9_000, "period_seconds": 1}
    assert before == {
        "camera": "gate-1", "stated": rate, "wanted": None, "state": None, "detail": "",
    }  # fmt: skip
    assert asked.status_code == 202
    assert (asked.json()["state"], asked.json()["wanted"]) == ("pending", DAILY)
    assert (after["state"], after["stated"]) == ("accepted", DAILY)


async def test_whole_number_may_have_a_point(known: ReviewWorld) -> None:
    body = {"container_bytes": 1191.0, "period_seconds": 1e2}

    asked = await known.http.put(URL, json=body)

    assert asked.json()["wanted"] == {"container_bytes": 1191, "period_seconds": 100}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**DAILY, "container_bytes": -1},
        {**DAILY, "container_bytes": 0.5},
        {**DAILY, "container_bytes": "1191"},
        {**DAILY, "container_bytes": float("1e300")},
        {**DAILY, "period_seconds": True},
    ],
)
async def test_impossible_budget_is_refused(known: ReviewWorld, body: dict[str, object]) -> None:
    assert (await known.http.put(URL, json=body)).status_code == 422
    assert (await known.store.budgets.get("gate-1")).wanted is None


async def test_camera_that_was_never_seen_has_none(review: ReviewWorld) -> None:
    for answer in (await review.http.get(URL), await review.http.put(URL, json=DAILY)):
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:slimwire:problem:camera-not-found"
