"""Page and API below a path of a real reverse proxy, which says who is signed on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx
import pytest
from playwright.async_api import expect

from slimcloud.roles import AccessRole
from slimcloud.sign_on import SignOn
from slimcloud.tokens import TokenTable
from slimcodec.detection import Detection
from support.cloud.browser import needs_chromium, open_page
from support.cloud.reverse_proxy import ADDRESS, reverse_proxy
from support.cloud.review import ReviewWorld, ToyCodec, open_review, served

SIGN_ON = SignOn("X-Remote-User", AccessRole.VIEWER, "X-Remote-Groups")
ANNA = {"X-Remote-User": "anna@example.com", "X-Remote-Groups": "staff, Reviewer"}
CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")


@pytest.fixture
async def guarded(redis_url: str, toy_codec: ToyCodec) -> AsyncIterator[ReviewWorld]:
    nobody = TokenTable(())
    async with open_review(redis_url, toy_codec, tokens=nobody, sign_on=SIGN_ON) as review:
        yield review


@asynccontextmanager
async def _proxied(
    review: ReviewWorld, *, strips: bool = True, signed_on: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a proxy before the review role."""
    async with (
        served(
            review,
            trusted=[ADDRESS],
            root_path="/slimwire",
            proxy_headers=SIGN_ON.headers,
        ) as direct,
        reverse_proxy(
            str(direct.base_url).rstrip("/"), "/slimwire", strips=strips, signed_on=signed_on
        ) as url,
        httpx.AsyncClient(base_url=f"{url}/slimwire", follow_redirects=True) as http,
    ):
        yield http


@pytest.mark.parametrize("strips", [True, False])
async def test_every_url_leads_back_through_the_proxy(review: ReviewWorld, strips: bool) -> None:
    frame_id = await review.send(1, found=[CAR])
    async with _proxied(review, strips=strips) as http:
        root = str(http.base_url)  # a proxy that strips the path adds a missing slash by itself
        page = await http.get(root if strips else root.rstrip("/"))
        (script,) = [part for part in page.text.split('"') if part.endswith("app.js")]
        (frame,) = (await http.get("/api/v1/frames")).json()["frames"]
        picture = await http.get(urljoin(str(http.base_url), frame["image_url"]))
        made = await http.post(f"/api/v1/frames/{frame_id}/reviews", json={"comment": "seen"})
        record = await http.get(urljoin(str(http.base_url), made.headers["Location"]))
        document = (await http.get("/api/v1/openapi.json")).json()

        assert str(page.url).endswith("/slimwire/")
        assert (await http.get(urljoin(str(page.url), script))).status_code == 200
        assert picture.headers["Content-Type"].startswith("image/")
        assert record.json()["comment"] == "seen"
        assert document["servers"] == [{"url": "/slimwire"}]


async def test_feed_comes_through_with_urls_of_the_proxy(review: ReviewWorld) -> None:
    url = "/api/v1/events?frames=true"  # the old name, which redirects
    wants = {"Accept": "text/event-stream"}
    async with _proxied(review) as http, http.stream("GET", url, headers=wants) as response:
        lines = response.aiter_lines()
        await anext(lines)
        await review.send(1, found=[CAR])

        data = [line async for line in _until(lines, "image_url")]

    assert '"image_url":"/slimwire/api/v1/frames/' in data[-1].replace(": ", ":")


async def _until(lines: AsyncIterator[str], word: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if word in line:
            return


async def test_whom_the_proxy_names_is_let_in_with_the_highest_role(guarded: ReviewWorld) -> None:
    frame_id = await guarded.send(1)
    async with _proxied(guarded, signed_on=ANNA) as http:
        session = (await http.get("/api/v1/session")).json()
        made = await http.post(f"/api/v1/frames/{frame_id}/reviews", json={"comment": "seen"})
        dead = await http.get("/api/v1/dead-letters")

    assert session == {"name": "anna@example.com", "role": "reviewer"}
    assert made.json()["reviewer"] == "anna@example.com"
    assert dead.status_code == 403


async def test_nobody_else_may_name_who_is_signed_on(guarded: ReviewWorld) -> None:
    async with served(guarded, trusted=[ADDRESS], proxy_headers=SIGN_ON.headers) as direct:
        forged = await direct.get("/api/v1/session", headers=ANNA)
    async with _proxied(guarded) as http:  # a proxy before which nobody is signed on
        unsigned = await http.get("/api/v1/session")

    assert (forged.status_code, unsigned.status_code) == (401, 401)


@pytest.mark.parametrize(
    ("headers", "role"),
    [
        ({"name": ["anna"]}, "viewer"),
        ({"name": ["anna"], "roles": ["camera, owner"]}, "viewer"),
        ({"name": ["anna"], "roles": ["viewer", "admin,reviewer"]}, "admin"),
        ({"name": ["anna", "boss"]}, None),
        ({"name": [" "]}, None),
        ({}, None),
    ],
)
def test_role_is_the_highest_that_is_known(headers: dict[str, list[str]], role: str | None) -> None:
    sign_on = SignOn("name", AccessRole.VIEWER, "roles")

    found = sign_on.find(lambda name: headers.get(name, []))

    assert (found and found.role) == role


@pytest.mark.slow
@needs_chromium
async def test_page_below_the_path_shows_what_comes_and_its_picture(guarded: ReviewWorld) -> None:
    await guarded.send(1, found=[CAR])
    async with (
        _proxied(guarded, signed_on=ANNA) as http,
        open_page(f"{http.base_url}#/frames") as page,
    ):
        await expect(page.locator("#frames .card")).to_have_count(1)
        await guarded.send(2, found=[CAR])
        await expect(page.locator("#frames .card")).to_have_count(2)
        await page.locator("#frames .card").first.click()
        await expect(page.locator("#image")).to_have_js_property("naturalWidth", 65)
