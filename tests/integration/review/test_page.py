"""The page, as people use it: a real browser against the served API, Redis and decoder."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from slimcloud.store.cameras.gaps import GapRecord
from slimcloud.store.feed import FeedKind
from slimcloud.store.records import ReviewMark
from slimcloud.store.reviews import ReviewFilter, ReviewKind, ReviewRecord
from slimcodec.detection import Detection
from support.cloud.browser import needs_chromium, open_page
from support.cloud.review import (
    EPOCH,
    PERIOD_US,
    START_UNIX_US,
    ReviewWorld,
    ToyCodec,
    give_tokens,
    open_review,
    served,
)

pytestmark = [pytest.mark.slow, needs_chromium]

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")
PERSON = Detection((30.0, 8.0, 44.0, 40.0), 0.6, 0, "person")


@pytest.fixture
async def url(review: ReviewWorld) -> AsyncIterator[str]:
    """Two cameras, frames with and without something in them, a gap; and the page over them."""
    for camera_id in ("gate-1", "yard"):
        await review.store.cameras.connect(
            camera_id, epoch=EPOCH, model_name="toy/1", connection=camera_id
        )
    for sequence in range(1, 6):
        await review.send(sequence, found=[CAR] if sequence % 2 else [CAR, PERSON])
    await review.send(6, camera_id="yard", found=[])
    gap_us = START_UNIX_US + 7 * PERIOD_US
    await review.store.gaps.put(
        GapRecord("yard", EPOCH, 1, gap_us, gap_us + PERIOD_US, "spool_full", 12)
    )
    async with served(review) as http:
        yield f"{http.base_url}/#/frames"


async def answer_refetches(review: ReviewWorld) -> None:
    """The camera's side: whatever is asked for is sent."""
    while True:
        for asked in await review.store.refetches.take("gate-1", EPOCH):
            await review.answer_refetch(asked.frame_id, asked.request_id)
        await asyncio.sleep(0.05)


async def test_open_filter_look_sharpen_and_mark_reviewed(url: str, review: ReviewWorld) -> None:
    answering = asyncio.create_task(answer_refetches(review))
    async with open_page(url) as page:
        await expect(page.locator("#wall .tile")).to_have_count(2)
        await expect(page.locator("#frames .card")).to_have_count(6)

        await page.select_option("#label", "person")
        await expect(page.locator("#frames .card")).to_have_count(2)

        await page.locator("#frames .card").first.click()
        await shows_a_picture(page)
        await expect(page.locator("#boxes .box")).to_have_count(2)
        await expect(page.locator("#until")).to_have_text("")  # the camera has not said
        before = await page.locator("#image").get_attribute("src")

        await page.keyboard.press("s")
        await expect(page.locator("#sharper")).to_have_text("Sharpest")
        await shows_a_picture(page)
        assert await page.locator("#image").get_attribute("src") != before
        await expect(page.locator("#compare")).to_be_visible()

        await page.keyboard.press("r")
        await expect(page.locator("#mark-reviewed")).to_have_attribute("aria-pressed", "true")
        await page.fill("#comment", "a <b>courier</b>")
        await page.keyboard.press("Enter")
        await expect(page.locator("#story .said")).to_have_text("a <b>courier</b>")
        await page.keyboard.press("Escape")
        await expect(page.locator("#frames .badge.reviewed")).to_have_count(1)
        await expect(page.locator("body")).not_to_contain_text("JPEG")
    answering.cancel()

    record = await review.store.get_frame(next(f for f in review.images if f.sequence == 4))
    assert (record.mark, record.comments_count) == (ReviewMark.REVIEWED, 1)
    assert record.enhancement_bytes > 0
    story = await review.store.reviews.of_frame(record.frame_id)
    assert [entry.kind for entry in story] == ["look", "sharpen", "look", "note", "note"]


async def test_sharper_says_until_when_it_works_and_is_grey_after(
    url: str, review: ReviewWorld
) -> None:
    for seconds, text, is_grey in (
        (10**9, "until about", False),
        (1, "the camera has it no more", True),
    ):
        await review.store.cameras.set_originals("gate-1", EPOCH, seconds)
        async with open_page(url) as page:
            await page.locator("#frames .card").last.click()
            await shows_a_picture(page)

            await expect(page.locator("#until")).to_contain_text(text)
            await expect(page.locator("#sharper")).to_have_text("Sharper")
            assert await page.locator("#sharper").is_disabled() == is_grey


async def test_frames_appear_as_they_are_detected_and_nothing_is_decoded(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        await expect(page.locator("#frames .card")).to_have_count(6)
        await review.send(20, found=[PERSON])

        await expect(page.locator("#frames .card")).to_have_count(7)
        await expect(page.locator('#wall [data-camera="gate-1"] .box')).to_have_count(1)
        await expect(page.locator("#timeline-caption .missing")).to_contain_text("12 frames")

    assert review.decoder.pictures == 0


async def test_events_bring_the_frames_and_move_nothing_that_is_read(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url, height=500) as page:
        cards = page.locator("#frames .card")
        await expect(cards).to_have_count(6)
        await expect(page.locator("#wall image")).to_have_count(2)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await cards.last.hover()
        top = await page.evaluate("scrollY")
        await review.send(20, found=[PERSON])

        await expect(page.locator("#news")).to_have_text("Show 1 newer frame")
        await expect(cards).to_have_count(6)
        assert await page.evaluate("scrollY") == top > 0

        await page.click("#news")
        await expect(cards).to_have_count(7)
        assert not any(re.search("/frames/[^/]*$", url) for url in asked)


async def test_the_list_stands_still_while_a_frame_is_open(url: str, review: ReviewWorld) -> None:
    async with open_page(url) as page:
        await expect(page.locator("#frames .card")).to_have_count(6)
        await page.locator("#frames .card").nth(2).click()
        await shows_a_picture(page)
        for sequence in range(40, 70):  # more than the list holds
            await review.send(sequence, found=[CAR])
        await expect(page.locator('#wall [data-camera="gate-1"] circle')).not_to_have_count(0)

        await page.keyboard.press("ArrowRight")
        await expect(page).to_have_url(
            re.compile(":3$")
        )  # sent: 1 to 6, the third from the end is 4
        await shows_a_picture(page)
        await page.keyboard.press("Escape")
        await expect(page.locator("#frames li").first).to_have_attribute(
            "data-id", re.compile(":69$")
        )

        await page.locator('#wall [data-camera="gate-1"] .tile').click()
        await shows_a_picture(page)
        await expect(page.locator("#older")).to_be_enabled()


async def test_lists_show_previews_and_nobody_has_looked(url: str, review: ReviewWorld) -> None:
    async with open_page(url) as page:
        for scene in ("#frames .card image", '#wall [data-camera="gate-1"] image'):
            await expect(page.locator(scene).first).to_have_attribute(
                "href", re.compile(r"/preview\?version=")
            )
        await expect(page.locator('#wall [data-camera="gate-1"] .chip')).to_be_hidden()
        assert await _looks(review) == []
        assert review.decoder.pictures == 0


async def test_a_frame_without_a_preview_is_a_sketch(url: str, review: ReviewWorld) -> None:
    await review.store.cameras.connect("damaged", epoch=EPOCH, model_name="toy/1", connection="d")
    await review.send(30, camera_id="damaged", container=b"nothing that decodes", found=[CAR])
    async with open_page(url) as page:
        await expect(page.locator('#wall [data-camera="damaged"] .chip')).to_be_visible()
        await expect(page.locator('#wall [data-camera="damaged"] .box')).to_have_count(1)


async def test_cameras_stand_in_order_of_what_moves_and_number_keys_open_them_so(
    url: str, review: ReviewWorld
) -> None:
    await review.store.cameras.connect("attic", epoch=EPOCH, model_name="toy/1", connection="a")
    async with open_page(url) as page:
        await expect(page.locator("#wall > li")).to_have_count(3)
        await expect(page.locator("#wall > li").first).to_have_attribute("data-camera", "gate-1")
        await review.store.cameras.disconnect("gate-1", "gate-1")
        await review.store.feed.add(FeedKind.CAMERA_DISCONNECTED, "gate-1")
        await expect(page.locator("#wall > li").last).to_have_attribute("data-camera", "gate-1")
        await expect(page.locator("#wall > li").last).to_contain_text("offline")

        await page.keyboard.press("3")

        await expect(page.locator("#viewer-title")).to_contain_text("gate-1")


async def test_no_tile_is_live_while_the_cloud_does_not_answer(url: str) -> None:
    async with open_page(url) as page:
        await expect(page.locator("#wall .tile.silent")).to_have_count(2)
        await page.route("**/api/v1/cameras", lambda route: route.abort())

        await expect(page.locator("#wall .tile.unknown")).to_have_count(2)
        await expect(page.locator("#banner")).to_contain_text("does not answer")

        await page.unroute("**/api/v1/cameras")
        await expect(page.locator("#wall .tile.silent")).to_have_count(2)


async def test_a_tile_counts_what_the_line_carried(url: str, review: ReviewWorld) -> None:
    await review.store.cameras.set_traffic("gate-1", 1_250_000, 62_500)

    async with open_page(url.replace("frames", "cameras")) as page:
        tiles = page.locator("#wall .tile")
        await expect(tiles.filter(has_text="gate-1")).to_contain_text("1.3 MB on the line")
        await expect(tiles.filter(has_text="yard")).not_to_contain_text("on the line")


async def test_an_open_picture_is_enlarged_and_saved_and_helped_with(url: str) -> None:
    async with open_page(url) as page:
        await page.locator("#frames .card").first.click()
        await shows_a_picture(page)
        stack = page.locator("#stack")
        whole = await stack.bounding_box()
        assert whole is not None

        await page.keyboard.press("+")
        await stack.hover(position={"x": 10, "y": 10})
        await page.mouse.wheel(0, -300)
        large = await stack.bounding_box()
        assert large is not None
        assert large["width"] > 2.5 * whole["width"]
        assert abs(large["x"] - whole["x"]) < large["width"]
        await page.keyboard.press("0")
        assert await stack.bounding_box() == whole

        async with page.expect_download() as saving:
            await page.keyboard.press("v")
        saved = await saving.value
        assert re.fullmatch(r"(gate-1|yard) 2026-.*\.(webp|png)", saved.suggested_filename)

        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#help")).to_be_hidden()
        await expect(page.locator("#viewer")).to_be_visible()


async def test_frames_in_which_something_is_seen_are_told_from_empty_ones(url: str) -> None:
    async with open_page(url) as page:
        await expect(page.locator("#frames .card")).to_have_count(6)
        await page.select_option("#label", "*")
        await expect(page.locator("#frames .card")).to_have_count(5)


async def test_a_dropped_frame_is_detected_when_a_person_asks(
    url: str, review: ReviewWorld
) -> None:
    frame_id = await review.send(30, found=None)
    await review.store.set_dropped(frame_id, "its deadline passed")

    async with open_page(url) as page:
        await page.locator("#frames .card").first.click()
        await shows_a_picture(page)
        await expect(page.locator("#facts")).to_contain_text("its deadline passed")
        async with page.expect_response(re.compile("/detection-request$")):
            await page.keyboard.press("d")
        await expect(page.locator("#busy")).to_contain_text("waiting for the detector")
        await review.detect(frame_id, [CAR])

        await expect(page.locator("#boxes .box")).to_have_count(1)
        await expect(page.locator("#detect")).to_be_hidden()


async def test_a_dropped_frame_that_was_detected_meanwhile_is_shown_so(
    url: str, review: ReviewWorld
) -> None:
    frame_id = await review.send(30, found=None)
    await review.store.set_dropped(frame_id, "its deadline passed")

    async with open_page(url) as page:
        await page.locator("#frames .card").first.click()
        await shows_a_picture(page)
        assert await review.store.request_detection(frame_id)  # another person
        await review.detect(frame_id, [CAR])
        await page.keyboard.press("d")

        await expect(page.locator("#boxes .box")).to_have_count(1)
        await expect(page.locator("#detect")).to_be_hidden()
        await expect(page.locator("#problem")).to_be_empty()


async def test_a_time_is_chosen_by_dragging_and_cleared_by_a_key(url: str) -> None:
    async with open_page(url) as page:
        await expect(page.locator("#frames .card")).to_have_count(6)
        # the cameras' wall above and the timeline are answers of their own, and move what is below
        await expect(page.locator("#wall > li")).not_to_have_count(0)
        await expect(page.locator("#timeline-caption")).to_contain_text("Drag to choose")
        timeline = page.locator("#timeline svg")
        box = await timeline.bounding_box()
        assert box is not None

        for share, press in ((0.6, page.mouse.down), (0.95, page.mouse.up)):
            await timeline.hover(position={"x": share * box["width"], "y": box["height"] / 2})
            await press()
        await expect(page.locator("#time")).to_have_value("between")
        await expect(page.locator("#clear")).to_be_visible()

        await page.locator("body").press("0")
        await expect(page.locator("#time")).to_have_value("")
        await expect(page.locator("#frames .card")).to_have_count(6)


async def test_frames_in_which_nothing_moved_are_folded_until_somebody_looks(
    url: str, review: ReviewWorld
) -> None:
    await review.send(11, found=[CAR])
    still = [
        await review.send(sequence, found=[CAR], reference=11, activity=0.0)
        for sequence in range(12, 16)
    ]
    await review.store.reviews.add(still[0], "anna", ReviewKind.NOTE, mark=ReviewMark.WRONG)
    await review.send(13, camera_id="yard", found=[])
    await review.send(16, found=[CAR], reference=15, activity=0.25)
    async with open_page(url) as page:
        cards = page.locator("#frames li")
        await expect(cards).to_have_count(11)
        fold = cards.nth(1)
        await expect(fold).to_contain_text("nothing moved")
        await expect(fold).to_contain_text("3 frames")
        await expect(page.locator("#timeline .activity")).to_have_count(1)

        await fold.locator("button").click()
        await expect(cards).to_have_count(13)
        await cards.nth(0).locator("button").click()
        await expect(page.locator("#facts")).to_contain_text("25% changed since frame 15")


async def test_nothing_matching_and_nothing_left_are_said(url: str, review: ReviewWorld) -> None:
    async with open_page(url) as page:
        await page.select_option("#label", "bicycle")
        await expect(page.locator("#no-frames")).to_contain_text("No frame matches")
        await page.click("#no-frames button")
        await expect(page.locator("#frames .card")).to_have_count(6)

        # the list is not made anew meanwhile
        await page.route("**/api/v1/frames?*", lambda _: None)
        for frame_id in review.images:
            await review.store.retention.remove(frame_id)
        await page.locator("#frames .card").first.click()
        await expect(page.locator("#problem")).to_contain_text("Retention has removed this frame")


async def test_what_fails_is_said_until_it_is_answered(url: str, review: ReviewWorld) -> None:
    async with open_page(url) as page:
        await page.route("**/api/v1/frames?*", lambda route: route.abort())
        await page.select_option("#camera", "yard")
        await expect(page.locator("#banner")).to_contain_text("does not answer")

        await review.store.cameras.connect("zoo", epoch=EPOCH, model_name="toy/1", connection="z")
        await review.store.feed.add(FeedKind.CAMERA_CONNECTED, "zoo")
        await expect(page.locator("#wall .tile")).to_have_count(3)  # another part is answered
        await expect(page.locator("#banner")).to_be_visible()

        await page.unroute("**/api/v1/frames?*")
        await expect(page.locator("#banner")).to_be_hidden()
        await expect(page.locator("#frames .card")).to_have_count(1)


async def test_an_empty_store_says_how_to_begin(review: ReviewWorld) -> None:
    async with served(review) as http, open_page(f"{http.base_url}/#/frames", dark=True) as page:
        await expect(page.locator("#no-cameras")).to_contain_text("No camera yet")
        await expect(page.locator("#no-frames")).to_contain_text("No frames yet")
        await expect(page.locator("#timeline-caption")).to_contain_text("No frame is kept")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(13, 16, 18)"
        )

        await page.keyboard.press("t")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(245, 246, 247)"
        )


async def test_a_page_that_needs_a_token_asks_for_it_and_lets_go_of_it(
    redis_url: str, toy_codec: ToyCodec
) -> None:
    async with (
        open_review(redis_url, toy_codec, tokens=give_tokens(vera="viewer")) as review,
        served(review) as http,
    ):
        await review.send(1, found=[CAR])
        async with open_page(f"{http.base_url}/#/frames") as page:
            await page.fill("#token", "wrong")
            await page.keyboard.press("Enter")
            await expect(page.locator("#token-problem")).to_contain_text("not known")
            await page.fill("#token", "vera")
            await page.keyboard.press("Enter")
            await expect(page.locator("#frames .card")).to_have_count(1)

            await page.locator("#frames .card").click()
            await shows_a_picture(page)
            await page.keyboard.press("r")
            await expect(page.locator("#problem")).to_contain_text("needs the role reviewer")
            await page.keyboard.press("Escape")

            await page.keyboard.press("?")
            await expect(page.locator("#who")).to_have_text("You are vera, viewer.")
            await page.click("#sign-out")
            await expect(page.locator("#sign-in")).to_be_visible()


async def test_a_narrow_screen_needs_no_sideways_scrolling(url: str) -> None:
    async with open_page(url, width=360, height=740) as page:
        await expect(page.locator("#frames .card")).to_have_count(6)
        assert await overflow(page, "document.documentElement") <= 0

        await page.locator("#frames .card").first.click()
        await shows_a_picture(page)
        assert await overflow(page, "document.getElementById('viewer')") <= 0


async def _looks(review: ReviewWorld) -> list[ReviewRecord]:
    page = await review.store.reviews.list(ReviewFilter(kind=ReviewKind.LOOK), limit=10)
    return list(page.records)


async def shows_a_picture(page: Page) -> None:
    await expect(page.locator("#busy")).to_be_empty()
    await expect(page.locator("#problem")).to_be_empty()
    await expect(page.locator("#image")).to_have_attribute("src", re.compile("^blob:"))
    await page.locator("#image").evaluate("image => image.decode()")


async def overflow(page: Page, element: str) -> int:
    return int(await page.evaluate(f"{element}.scrollWidth - {element}.clientWidth"))
