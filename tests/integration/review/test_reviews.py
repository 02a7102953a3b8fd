"""Marks and comments of people, who looked at what: over a real Redis."""

from typing import Any

import pytest

from slimcodec.detection import Detection
from support.cloud.review import ReviewWorld

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")


async def test_a_frame_is_marked_commented_and_listed_by_its_mark(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=[CAR])
    await review.send(2)
    url = f"/api/v1/frames/{frame_id}/reviews"

    added = await review.http.post(url, json={"mark": "wrong", "comment": " a van, not a car "})
    record = (await review.http.get(added.headers["location"])).json()
    frame = (await review.http.get(f"/api/v1/frames/{frame_id}")).json()
    wrong = (await review.http.get("/api/v1/frames", params={"mark": "wrong"})).json()

    assert added.status_code == 201
    assert added.json() == record
    assert (record["kind"], record["mark"]) == ("note", "wrong")
    assert (record["reviewer"], record["comment"]) == ("127.0.0.1", "a van, not a car")
    assert (frame["mark"], frame["comments_count"]) == ("wrong", 1)
    assert [listed["id"] for listed in wrong["frames"]] == [str(frame_id)]


async def test_who_looked_asked_for_more_and_said_what_is_one_story(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    frame_url = f"/api/v1/frames/{frame_id}"

    await review.http.get(f"{frame_url}/image")
    await review.http.post(f"{frame_url}/refetch")
    await review.answer_refetch(frame_id)
    await review.http.get(f"{frame_url}/image")
    await review.http.post(f"{frame_url}/reviews", json={"mark": "reviewed"})

    story = (await review.http.get(f"{frame_url}/reviews")).json()["reviews"]
    widest = len(review.codec.artifact.levels) - 1
    assert [(entry["kind"], entry["level"]) for entry in story] == [
        ("look", 0),
        ("sharpen", None),
        ("look", widest),
        ("note", None),
    ]


async def test_the_audit_is_paged_by_its_link(review: ReviewWorld) -> None:
    for sequence in range(1, 6):
        frame_id = await review.send(sequence)
        await review.http.post(f"/api/v1/frames/{frame_id}/reviews", json={"comment": "seen"})
    await review.store.retention.remove(frame_id)

    first = await review.http.get("/api/v1/reviews", params={"limit": 3, "kind": "note"})
    second = await review.http.get(first.links["next"]["url"])

    pages = [first.json()["reviews"], second.json()["reviews"]]
    sequences = [[int(entry["frame_id"].rpartition(":")[2]) for entry in page] for page in pages]
    assert sequences == [[5, 4, 3], [2, 1]]
    assert "next" not in second.links


@pytest.mark.parametrize(
    "body",
    [{}, {"comment": "  "}, {"mark": "fine"}, {"comment": "x" * 2001}, {"mark": None}, [], "x"],
)
async def test_a_review_that_says_nothing_or_too_much_is_422(
    review: ReviewWorld, body: Any
) -> None:
    frame_id = await review.send(1)

    response = await review.http.post(f"/api/v1/frames/{frame_id}/reviews", json=body)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert (await review.store.reviews.of_frame(frame_id)) == []


async def test_a_frame_that_retention_removed_takes_no_reviews(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    await review.store.retention.remove(frame_id)

    response = await review.http.post(
        f"/api/v1/frames/{frame_id}/reviews", json={"mark": "reviewed"}
    )

    assert response.status_code == 410


async def test_an_unknown_record_is_404(review: ReviewWorld) -> None:
    response = await review.http.get("/api/v1/reviews/12-3")

    assert response.status_code == 404
    assert response.json()["type"] == "urn:slimwire:problem:review-not-found"
