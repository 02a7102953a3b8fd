"""The review API with tokens: 401 for nobody, 403 for too little, and a cookie for the page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slimcloud.roles import AccessRole
from slimcloud.store import keys
from slimcloud.tokens import Identity, TokenTable, token_digest
from support.cloud.review import ReviewWorld, ToyCodec, open_review

TOKENS = {role: f"the-token-of-the-{role}" for role in ("camera", "viewer", "reviewer", "admin")}


@pytest.fixture
async def guarded(redis_url: str, toy_codec: ToyCodec) -> AsyncIterator[ReviewWorld]:
    lines = [f"{role} my-{role} {token_digest(token)}" for role, token in TOKENS.items()]
    table = TokenTable.parse("\n".join(lines))
    async with open_review(redis_url, toy_codec, tokens=table) as review:
        yield review


def _bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role]}"}


async def _status(review: ReviewWorld, role: str, method: str, path: str) -> int:
    return (await review.http.request(method, path, headers=_bearer(role))).status_code


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eA=="}]
)
async def test_nobody_gets_401_with_a_challenge(
    guarded: ReviewWorld, headers: dict[str, str]
) -> None:
    answer = await guarded.http.get("/api/v1/cameras", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:slimwire:problem:unauthorized"
    assert "wrong" not in answer.text


async def test_viewer_looks_and_does_not_write(guarded: ReviewWorld) -> None:
    frame_id = await guarded.send(1)

    assert await _status(guarded, "viewer", "GET", "/api/v1/frames") == 200
    refused = await guarded.http.post(
        f"/api/v1/frames/{frame_id}/refetch", headers=_bearer("viewer")
    )

    assert refused.status_code == 403
    assert refused.json()["detail"].endswith(
        "needs the role reviewer; the token of my-viewer has viewer"
    )


async def test_reviewer_writes_under_the_name_of_the_token(guarded: ReviewWorld) -> None:
    frame_id = await guarded.send(1)

    answer = await guarded.http.post(
        f"/api/v1/frames/{frame_id}/reviews",
        headers=_bearer("reviewer"),
        json={"comment": "seen"},
    )

    assert answer.status_code == 201
    assert answer.json()["reviewer"] == "my-reviewer"


async def test_only_an_admin_sees_what_everybody_did(guarded: ReviewWorld) -> None:
    statuses = [
        await _status(guarded, role, "GET", "/api/v1/reviews")
        for role in ("viewer", "reviewer", "admin")
    ]

    assert statuses == [403, 403, 200]


async def test_token_of_a_camera_opens_no_door_for_people(guarded: ReviewWorld) -> None:
    assert await _status(guarded, "camera", "GET", "/api/v1/frames") == 403


async def test_page_and_probes_need_no_token(guarded: ReviewWorld) -> None:
    for path in ("/", "/livez", "/readyz", "/metrics"):
        assert (await guarded.http.get(path)).status_code == 200


async def test_session_cookie_serves_where_no_header_can_be_sent(guarded: ReviewWorld) -> None:
    begun = await guarded.http.post("/api/v1/session", headers=_bearer("viewer"))
    cookie = begun.headers["Set-Cookie"]

    assert begun.status_code == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert (await guarded.http.get("/api/v1/frames")).status_code == 200  # the client keeps it
    assert (await guarded.http.get("/api/v1/session")).json() == {
        "name": "my-viewer",
        "role": "viewer",
    }

    await guarded.http.delete("/api/v1/session")

    assert (await guarded.http.get("/api/v1/frames")).status_code == 401


async def test_without_tokens_everything_is_open(review: ReviewWorld) -> None:
    assert (await review.http.get("/api/v1/reviews")).status_code == 200
    assert (await review.http.get("/api/v1/session")).json() == {"name": "anyone", "role": "admin"}


async def test_every_operation_but_signing_out_asks_who_it_is(guarded: ReviewWorld) -> None:
    operations = [
        (method.upper(), path)
        for path, methods in guarded.api.openapi()["paths"].items()
        for method in methods
        if path.startswith("/api/v1/")
    ]

    answers = {
        operation: (await guarded.http.request(*operation)).status_code for operation in operations
    }

    assert len(answers) > 20
    assert {o for o, status in answers.items() if status != 401} == {("DELETE", "/api/v1/session")}


async def test_an_admin_makes_and_takes_back_the_token_of_a_camera(guarded: ReviewWorld) -> None:
    url = "/api/v1/cameras/new/token"

    async def state() -> str:
        answer = await guarded.http.get(url, headers=_bearer("admin"))
        return str(answer.json()["state"])

    assert await state() == "none"
    made = await guarded.http.put(url, headers=_bearer("admin"))
    token = made.json()["token"]
    assert made.headers["Cache-Control"] == "no-store"
    assert await state() == "made"
    assert guarded.api.state.tokens.find(token) == Identity("new", AccessRole.CAMERA)
    assert await guarded.client.hgetall(keys.TOKENS) == {b"new": token_digest(token).encode()}
    again = (await guarded.http.put(url, headers=_bearer("admin"))).json()["token"]
    assert guarded.api.state.tokens.find(token) is None
    assert (await guarded.http.delete(url, headers=_bearer("admin"))).status_code == 204
    assert await state() == "revoked"
    assert guarded.api.state.tokens.find(again) is None
    for method in ("GET", "PUT", "DELETE"):
        assert await _status(guarded, "reviewer", method, url) == 403


async def test_an_open_api_makes_no_tokens(review: ReviewWorld) -> None:
    assert (await review.http.put("/api/v1/cameras/new/token")).status_code == 409
