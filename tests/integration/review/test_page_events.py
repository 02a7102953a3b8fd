"""Events on the page: what happened comes first, and is reviewed many at a time."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, Route, expect

from slimcloud.events.event import Event, EventState, event_id_of
from slimcloud.frame_id import FrameId
from slimcloud.store.events.event_index import ToldEvent
from slimcloud.store.feed import FeedKind
from slimcloud.zones.rules import Severity
from slimcodec.detection import Detection
from support.cloud.browser import needs_chromium, open_page
from support.cloud.review import EPOCH, PERIOD_US, START_UNIX_US, ReviewWorld, served

pytestmark = [pytest.mark.slow, needs_chromium]

NUM_EVENTS = 4
SPAN = 5  # frames of each event


def make_event(number: int, **changes: object) -> Event:
    """The nth event: of persons where n is odd, of cars where it is even."""
    label, first = ("person" if number % 2 else "car"), number * SPAN
    begin_us = START_UNIX_US + first * PERIOD_US
    known = Event(
        event_id=event_id_of("gate-1", begin_us, 1),
        camera="gate-1",
        labels=(label,),
        zones=("door",) if number == 1 else (),
        begin_us=begin_us,
        end_us=begin_us + (SPAN - 1) * PERIOD_US,
        severity=Severity.ALERT if number % 2 else Severity.DETECTION,
        state=EventState.ENDED,
        objects=1,
        score=0.75,
        best_frame_id=FrameId("gate-1", EPOCH, first + 2),
        best_box=(0.25, 0.5, 0.375, 0.75),
        path=((0.25, 0.5), (0.5, 0.5)),
    )
    return known.model_copy(update=changes)


async def tell(review: ReviewWorld, event: Event, kind: FeedKind = FeedKind.EVENT_BEGUN) -> None:
    index = review.store.event_index
    before = await index.lead("test")
    assert before is not None
    position = f"{int(before.partition('-')[0] or 0) + 1}-0"
    assert await index.commit("test", before, position, {}, [ToldEvent(kind, event, 2**60)])


@pytest.fixture
async def url(review: ReviewWorld) -> AsyncIterator[str]:
    await review.store.cameras.connect(
        "gate-1", epoch=EPOCH, model_name="toy/1", connection="gate-1"
    )
    for number in range(NUM_EVENTS):
        for sequence in range(max(1, number * SPAN), (number + 1) * SPAN):
            found = Detection((16.0, 24.0, 24.0, 36.0), 0.75, 2, "car")
            await review.send(sequence, found=[found])
        await tell(review, make_event(number))
    async with served(review) as http:
        yield str(http.base_url)


async def test_the_page_opens_with_events_and_shows_how_they_went(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        cards = page.locator("#events > li")
        await expect(cards).to_have_count(NUM_EVENTS)
        await expect(cards.first).to_contain_text("person")  # the newest
        await expect(cards.first.locator("image")).to_have_attribute(
            "href", re.compile(r"/events/gate-1\.[0-9a-f]{16}\.1/preview")
        )
        await expect(cards.first.locator(".box")).to_have_count(1)
        await cards.first.locator("button").hover()
        await expect(cards.first.locator(".moments i")).to_have_count(SPAN)
        assert review.decoder.pictures == 0

        await page.click("#event-label summary")
        await expect(page.locator("#event-label label")).to_have_text(
            ["car2", "person2", "bicycle"]
        )
        await page.locator("#event-label").get_by_label("car").check()
        await page.keyboard.press("Escape")
        await expect(cards).to_have_count(NUM_EVENTS // 2)
        await page.click("#only-alerts")
        await expect(page.locator("#no-events")).to_contain_text("No event matches")
        await page.locator("body").press("0")
        await expect(cards).to_have_count(NUM_EVENTS)
        await page.click("#event-zone summary")
        await page.locator("#event-zone").get_by_label("door").check()
        await expect(cards).to_have_count(1)


async def test_an_open_event_is_marked_and_the_next_one_shown(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        await page.locator("#events .card").first.click()
        await shows(page, NUM_EVENTS - 1)
        await expect(page.locator("#boxes .path")).to_have_count(1)
        await expect(page.locator("#moments li")).to_have_count(SPAN)
        async with page.expect_download() as saving:
            await page.click("#all-pictures")
        assert (await saving.value).suggested_filename.endswith(".zip")
        await page.keyboard.press("ArrowDown")
        await expect(page.locator("#moments li").nth(3).locator("button")).to_have_attribute(
            "aria-current", "true"
        )

        await page.keyboard.press("r")
        await shows(page, NUM_EVENTS - 2)
        await page.keyboard.press("r")
        await shows(page, NUM_EVENTS - 3)
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#mark-reviewed")).to_have_attribute("aria-pressed", "true")
        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")

        await expect(page.locator("#events > li")).to_have_count(NUM_EVENTS - 2)
        await expect(page.locator("#only-unreviewed")).to_have_text(f"Unreviewed {NUM_EVENTS - 2}")
        assert (await stored(review, NUM_EVENTS - 1)).reviewed


async def test_many_are_chosen_and_marked_by_keys_and_that_is_taken_back(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        cards = page.locator("#events > li")
        await cards.nth(1).locator("button").focus()
        await page.keyboard.press("Space")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Space")
        await expect(page.locator("#picks-count")).to_have_text("2 chosen")
        await page.keyboard.press("r")
        await expect(cards).to_have_count(NUM_EVENTS - 2)
        await expect(cards.last.locator("button")).to_be_focused()
        assert (await stored(review, 1)).reviewed
        assert not (await stored(review, 0)).reviewed

        await page.keyboard.press("u")
        await expect(cards).to_have_count(NUM_EVENTS)
        assert not (await stored(review, 1)).reviewed

        await page.keyboard.press("a")
        await page.click("#mark-picked")
        await expect(page.locator("#no-events")).to_contain_text("Nothing is left to review")


async def test_events_come_and_change_as_they_happen(url: str, review: ReviewWorld) -> None:
    async with open_page(url, height=400) as page:
        cards = page.locator("#events > li")
        await expect(cards).to_have_count(NUM_EVENTS)
        going_on = make_event(7, end_us=None, state=EventState.ACTIVE)
        await tell(review, going_on)
        await expect(cards).to_have_count(NUM_EVENTS + 1)
        await expect(cards.first).to_contain_text("goes on")

        await cards.last.hover()
        top = await page.evaluate("scrollY")
        await tell(review, make_event(7), FeedKind.EVENT_ENDED)
        await tell(review, make_event(8))
        await expect(page.locator("#news")).to_have_text("Show 1 new event")
        await expect(cards).to_have_count(NUM_EVENTS + 1)
        assert await page.evaluate("scrollY") == top > 0

        await page.click("#news")
        await expect(cards).to_have_count(NUM_EVENTS + 2)
        await expect(cards.nth(1)).not_to_contain_text("goes on")


async def test_what_is_told_while_the_list_is_asked_for_is_not_lost(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        cards = page.locator("#events > li")
        await expect(cards).to_have_count(NUM_EVENTS)

        async def answer_late(route: Route) -> None:
            stale = await route.fetch()
            await tell(review, make_event(9))
            await expect(cards).to_have_count(NUM_EVENTS + 1)  # the feed is faster
            await route.fulfill(response=stale)

        await page.route("**/api/v1/events?*", answer_late, times=1)
        async with page.expect_request_finished(lambda request: "/events?" in request.url):
            await page.click("#only-unreviewed")

        await expect(page.locator("#news")).to_be_hidden()
        await expect(cards).to_have_count(NUM_EVENTS + 1)


async def test_a_large_screen_is_filled_with_older_events(url: str, review: ReviewWorld) -> None:
    known, more = make_event(0), 60
    for n in range(1, more + 1):
        begin_us = known.begin_us - n
        changes = {"event_id": event_id_of("gate-1", begin_us, 1), "begin_us": begin_us}
        await tell(review, known.model_copy(update=changes))
    async with open_page(url, width=2560, height=2400) as page:
        await expect(page.locator("#events > li")).to_have_count(NUM_EVENTS + more)


async def test_an_event_is_shown_when_its_frames_are_gone(url: str, review: ReviewWorld) -> None:
    for frame_id in list(review.images):
        await review.store.retention.remove(frame_id)
    async with open_page(f"{url}/#event/{make_event(2).event_id}") as page:
        await expect(page.locator("#problem")).to_contain_text("all that is kept")
        await expect(page.locator("#boxes .box")).to_have_count(1)
        await page.locator("#image").evaluate("image => image.decode()")
        await expect(page.locator("#sharper")).to_be_disabled()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)])
async def test_filters_and_first_cards_are_in_the_first_screen(
    url: str, width: int, height: int
) -> None:
    async with open_page(url, width=width, height=height) as page:
        await expect(page.locator("#events image")).to_have_count(NUM_EVENTS)
        await expect(page.locator("#only-unreviewed")).to_contain_text("4")
        for part in ("#only-unreviewed", "#events .card .about"):
            box = await page.locator(part).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < height
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def shows(page: Page, number: int) -> None:
    event = make_event(number)
    await expect(page).to_have_url(re.compile(f"{event.event_id}$"))
    await expect(page.locator("#busy")).to_be_empty()
    await expect(page.locator("#image")).to_have_attribute("src", re.compile("^blob:"))


async def stored(review: ReviewWorld, number: int) -> Event:
    return await review.store.event_index.get(make_event(number).event_id)
