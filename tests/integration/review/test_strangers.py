"""What the API does not do for those who have no business with it: large bodies, other sites."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from slimcloud.review import take_tokens
from slimcloud.review.body_limit import MAX_BODY_BYTES
from support.cloud.review import ReviewWorld, give_tokens, served

CROSS_SITE = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
LARGE = b'{"comment":"' + b"a" * MAX_BODY_BYTES + b'"}'


@pytest.fixture
def guarded(review: ReviewWorld) -> ReviewWorld:
    review.api.state.tokens = give_tokens(wall="viewer", anna="reviewer")
    return review


async def _chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(LARGE), 1000):
        yield LARGE[start : start + 1000]


def _asks(review: ReviewWorld) -> list[tuple[str, str]]:
    """Every operation of the API that is not safe: method and path."""
    return [
        (method.upper(), path)
        for path, methods in review.api.openapi()["paths"].items()
        for method in methods
        if method not in ("get", "head")
    ]


@pytest.mark.parametrize("body", [LARGE, _chunks()], ids=["declared", "chunked"])
async def test_large_body_is_refused_before_the_token_is_asked_for(
    guarded: ReviewWorld, body: bytes | AsyncIterator[bytes]
) -> None:
    answer = await guarded.http.post(
        "/api/v1/frames/gate:0000000000000001:1/reviews",
        content=body,
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"  # the rest is not read


async def test_longest_comment_passes(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    comment = json.dumps({"comment": "\U0001f6a6" * 2000})  # 12 bytes each, escaped as a pair

    answer = await review.http.post(
        f"/api/v1/frames/{frame_id}/reviews",
        content=comment,
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        CROSS_SITE,
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://review:8081"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_page_of_another_site_changes_nothing(
    review: ReviewWorld, headers: dict[str, str]
) -> None:
    answers = [await review.http.request(*ask, headers=headers) for ask in _asks(review)]

    assert len(answers) >= 6
    assert {answer.status_code for answer in answers} == {403}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://review", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://review"},
        {"Origin": "https://cloud.example", "Sec-Fetch-Site": "same-origin"},  # behind a proxy
    ],
)
async def test_our_page_and_programs_change_what_they_may(
    review: ReviewWorld, headers: dict[str, str]
) -> None:
    frame_id = await review.send(1)

    answer = await review.http.post(
        f"/api/v1/frames/{frame_id}/reviews", json={"comment": "seen"}, headers=headers
    )

    assert answer.status_code == 201


async def _statuses(review: ReviewWorld, host: str) -> set[int]:
    paths = ("/api/v1/cameras", "/api/v1/frames", "/api/v1/session")
    headers = {"Host": host, "Authorization": "Bearer wall"}
    return {(await review.http.get(path, headers=headers)).status_code for path in paths}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "evil_.example", "[::1"])
async def test_open_api_is_not_asked_under_a_rebound_name(review: ReviewWorld, host: str) -> None:
    assert await _statuses(review, host) == {403}

    for path in ("/", "/livez", "/metrics"):  # what holds nothing is open to scrapers of any name
        assert (await review.http.get(path, headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.0.7", "Review", "a.localhost"],
)
async def test_open_api_answers_to_its_names_and_to_addresses(
    review: ReviewWorld, host: str
) -> None:
    assert await _statuses(review, host) == {200}


async def test_with_tokens_any_name_serves(guarded: ReviewWorld) -> None:
    assert await _statuses(guarded, "cloud.example") == {200}


async def test_names_in_the_audit_are_bounded(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    transport = httpx.ASGITransport(review.api, client=("z" * 60_000, 1))

    async with httpx.AsyncClient(transport=transport, base_url="http://review") as http:
        answer = await http.post(f"/api/v1/frames/{frame_id}/reviews", json={"comment": "seen"})

    assert answer.json()["reviewer"] == "z" * 64


async def test_token_that_is_taken_back_ends_its_event_stream(guarded: ReviewWorld) -> None:
    path, headers = "/api/v1/events/stream", {"Authorization": "Bearer wall"}
    async with served(guarded) as http, http.stream("GET", path, headers=headers) as response:
        lines = response.aiter_lines()
        await anext(lines)  # it has begun

        take_tokens(guarded.api, give_tokens(anna="reviewer"))

        assert [line async for line in lines if line.startswith("event")] == []
        assert (await http.get(path, headers=headers)).status_code == 401


async def test_table_without_people_does_not_open_the_api(guarded: ReviewWorld) -> None:
    take_tokens(guarded.api, give_tokens())

    assert (await guarded.http.get("/api/v1/cameras")).status_code == 401
