"""The page's charts of what a camera's controller does, in a real browser."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from slimcloud.store.records import DetectionResult
from support.cloud.browser import needs_chromium, open_page
from support.cloud.review import EPOCH, PERIOD_US, START_UNIX_US, ReviewWorld, served

pytestmark = [pytest.mark.slow, needs_chromium]

FRAMES = 60
DEADLINE_SECONDS = 0.4
LATE = (20, 21, 22)
DROPPED = 40


async def send(review: ReviewWorld, n: int, camera_id: str = "gate-1") -> None:
    """Frame n, half a second after the one before, and what came of it."""
    sequence = 5 * n + 1  # of the world's clock of captures, a tenth of a second each
    frame_id = await review.send(
        sequence,
        camera_id=camera_id,
        level=(n // 20) % 3,
        quality=n % 4,
        found=None,
        link_bytes_per_second=round(60_000 + 40_000 * math.sin(n / 8)),
    )
    if n == DROPPED:
        await review.store.set_dropped(frame_id, "its deadline passed")
        return
    seconds = 0.7 if n in LATE else 0.15 + 0.1 * math.sin(n / 5)
    result = DetectionResult(
        detections=(),
        detector="toy-detector/1",
        codec="toy/1",
        min_score=0.25,
        queue_seconds=0.01,
        compute_seconds=0.05,
        batch_size=1,
        detected_time_unix_us=START_UNIX_US + sequence * PERIOD_US + round(1e6 * seconds),
    )
    await review.store.put_detections(frame_id, result)


@pytest.fixture
async def url(review: ReviewWorld) -> AsyncIterator[str]:
    for n in range(FRAMES):
        await send(review, n)
    # after its frames, which are of long ago: it is heard now
    for camera_id, deadline in (("gate-1", DEADLINE_SECONDS), ("yard", None)):
        await review.store.cameras.connect(
            camera_id,
            epoch=EPOCH,
            model_name="toy/1",
            connection=camera_id,
            deadline_seconds=deadline,
        )
    async with served(review) as http:
        yield f"{http.base_url}/#/cameras"


async def test_the_last_minute_of_a_camera_is_drawn_and_goes_on(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        await page.locator("#control > summary").click()
        charts = page.locator("#control-charts")
        await expect(charts).to_be_visible()
        await expect(page.locator("#control-rate figcaption")).to_contain_text("planned with 0.76")
        await expect(page.locator("#control-choice figcaption")).to_contain_text("level 2")
        await expect(page.locator("#control-latency .late")).to_have_count(5)  # with the key's
        await expect(page.locator("#control-latency figcaption")).to_contain_text(
            "4 later than 400 ms"
        )
        await expect(page.locator("#control-latency line")).to_have_count(1)
        drawn = await page.locator("#control-latency rect").count()
        assert drawn == FRAMES

        await send(review, FRAMES)

        await expect(page.locator("#control-latency rect")).to_have_count(FRAMES + 1)


async def test_another_camera_is_chosen_and_one_without_frames_says_so(
    url: str, review: ReviewWorld
) -> None:
    async with open_page(url) as page:
        await page.locator("#control > summary").click()
        await expect(page.locator("#control-charts")).to_be_visible()
        await page.select_option("#control-camera", "yard")
        await expect(page.locator("#control-empty")).to_be_visible()

        await send(review, 0, "yard")

        await expect(page.locator("#control-latency figcaption")).to_contain_text("no deadline")
        await page.locator("#control > summary").click()
        await expect(page.locator("#control-charts")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True])
async def test_the_charts_fit_a_phone(url: str, dark: bool) -> None:
    async with open_page(url, width=360, height=780, dark=dark) as page:
        await page.locator("#control > summary").click()
        await expect(page.locator("#control-latency rect")).to_have_count(FRAMES)

        overflow = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    assert overflow == 0
