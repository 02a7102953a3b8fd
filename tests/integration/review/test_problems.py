"""Every error is a problem document (RFC 9457), whoever raises it."""

import logging
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from slimcloud.frame_id import FrameId
from slimcloud.store.cameras.registry import CameraRecord, CameraRegistry
from support.cloud.review import EPOCH, ReviewWorld

NEVER = FrameId("gate-1", EPOCH, 77)


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:slimwire:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.request.url.path
    assert len(problem["trace_id"]) == 32
    return problem


@pytest.mark.parametrize("rest", ["", "/detections", "/image", "/reviews"])
async def test_what_was_never_stored_is_404_and_what_was_removed_is_410(
    review: ReviewWorld, rest: str
) -> None:
    frame_id = await review.send(1)
    await review.store.retention.remove(frame_id)

    never = await review.http.get(f"/api/v1/frames/{NEVER}{rest}")
    gone = await review.http.get(f"/api/v1/frames/{frame_id}{rest}")
    nonsense = await review.http.get(f"/api/v1/frames/nonsense{rest}")

    assert_problem(never, 404, "frame-not-found")
    assert_problem(gone, 410, "frame-gone")
    assert_problem(nonsense, 404, "invalid-frame-id")


async def test_a_refetch_of_a_frame_that_is_not_there_is_404_or_410(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    await review.store.retention.remove(frame_id)

    assert_problem(
        await review.http.post(f"/api/v1/frames/{NEVER}/refetch"), 404, "frame-not-found"
    )
    assert_problem(await review.http.post(f"/api/v1/frames/{frame_id}/refetch"), 410, "frame-gone")


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("limit=0", "query.limit"),
        ("limit=many", "query.limit"),
        ("limit=201", "query.limit"),
        ("min_score=1.5", "query.min_score"),
        ("min_score=nan", "query.min_score"),
        ("from=yesterday", "query.from"),
        ("from=2026-01-01T00:00:00", "query.from"),
        ("camera=a%20b", "query.camera"),
        ("labels=car", "query.labels"),
        ("label=persn", "query.label"),
        ("label=zeppelin", "query.label"),
    ],
)
async def test_an_input_that_is_not_understood_is_422_and_named(
    review: ReviewWorld, query: str, location: str
) -> None:
    response = await review.http.get(f"/api/v1/frames?{query}")

    problem = assert_problem(response, 422, "invalid-request")
    (error,) = problem["errors"]
    assert error["location"] == location
    assert error["detail"]


async def test_a_misspelt_label_is_told_the_one_that_may_be_meant(review: ReviewWorld) -> None:
    response = await review.http.get("/api/v1/frames?label=persn")

    (error,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert error["detail"].endswith("did you mean person?")


async def test_a_cursor_that_was_not_given_out_is_400(review: ReviewWorld) -> None:
    assert_problem(await review.http.get("/api/v1/frames?cursor=AAAA"), 400, "invalid-cursor")


async def test_the_frameworks_own_errors_are_problems_too(review: ReviewWorld) -> None:
    assert_problem(await review.http.get("/api/v1/nothing"), 404, "not-found")
    wrong = await review.http.delete("/api/v1/frames")
    assert_problem(wrong, 405, "method-not-allowed")
    assert "GET" in wrong.headers["allow"]


async def test_a_store_that_does_not_answer_is_503_with_retry_after(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: CameraRegistry) -> list[CameraRecord]:
        raise RedisConnectionError("no route to 10.0.0.7")

    monkeypatch.setattr(CameraRegistry, "list", fail)

    response = await review.http.get("/api/v1/cameras")

    problem = assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert "10.0.0.7" not in problem["detail"]


async def test_a_bug_is_500_without_its_details_and_logged_with_the_trace_id(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: CameraRegistry) -> list[CameraRecord]:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(CameraRegistry, "list", fail)
    transport = httpx.ASGITransport(review.api, raise_app_exceptions=False)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    traceparent = f"00-{trace_id}-b7ad6b7169203331-01"

    with caplog.at_level(logging.ERROR):
        async with httpx.AsyncClient(transport=transport, base_url="http://review") as http:
            response = await http.get("/api/v1/cameras", headers={"traceparent": traceparent})

    problem = assert_problem(response, 500, "internal-error")
    assert problem["trace_id"] == trace_id
    assert "secret" not in response.text
    assert trace_id in [getattr(record, "trace_id", None) for record in caplog.records]


@pytest.mark.parametrize("moment", ["1780000000", "0.5", "2026-11-22", "2026-11-22T20:00:00"])
async def test_a_time_without_its_offset_is_refused(review: ReviewWorld, moment: str) -> None:
    response = await review.http.get("/api/v1/frames", params={"from": moment})

    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "query.from"


async def test_allow_names_every_method_of_a_path(review: ReviewWorld) -> None:
    frame_id = await review.send(1)

    response = await review.http.put(f"/api/v1/frames/{frame_id}/reviews")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert response.headers["content-type"] == "application/problem+json"
