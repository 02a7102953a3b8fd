"""Zones and masks, drawn on the page as people draw them."""

import re

import pytest
from playwright.async_api import expect

from slimcloud.zones.rules import CameraRules
from support.cloud.browser import needs_chromium, open_page
from support.cloud.review import EPOCH, ReviewWorld, served

pytestmark = [pytest.mark.slow, needs_chromium]


async def test_a_zone_and_a_mask_are_drawn_named_and_kept(review: ReviewWorld) -> None:
    await review.store.cameras.connect("yard", epoch=EPOCH, model_name="toy/1", connection="c")
    await review.send(1, camera_id="yard", found=[])
    async with served(review) as http, open_page(f"{http.base_url}/#/cameras") as page:
        await page.click("#wall .zones")
        await expect(page.locator("#rules-image")).to_have_attribute("src", re.compile("^blob:"))
        picture = page.locator("#rules-shapes")
        box = await picture.bounding_box()
        assert box is not None

        await page.click("#new-zone")
        for x, y in ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75)):
            await picture.click(position={"x": x * box["width"], "y": y * box["height"]})
        await page.keyboard.press("Enter")
        await page.keyboard.type("gate")  # the name is chosen, to be written over
        await page.locator("#rules-list summary").click()
        await page.locator("#rules-list").get_by_label("person").check()
        await page.keyboard.press("Escape")
        await page.fill("#rules-list input[type=number]", "2.5")
        await page.locator("[data-corner='1']").press("Shift+ArrowRight")
        await page.click("#new-mask")
        await page.keyboard.press("Enter")  # a rectangle, for no corner was set
        await page.click("#alert-zones summary")
        await page.locator("#alert-zones").get_by_label("gate").check()
        await page.click("#rules-save")
        await expect(page.locator("#rules")).to_be_hidden()

    rules = (await review.store.rules.get("yard")).rules
    (zone,), (mask,) = rules.zones, rules.masks
    assert (zone.name, zone.labels, zone.loiter_seconds) == ("gate", ("person",), 2.5)
    corners = [(0.25, 0.25), (0.8, 0.25), (0.75, 0.75)]
    assert [pytest.approx(corner, abs=0.01) for corner in corners] == list(zone.points)
    assert len(mask.points) == 4
    assert rules.alerts.zones == ("gate",)
    assert rules.alerts.labels == CameraRules().alerts.labels


async def test_rules_that_cannot_be_kept_are_told_and_stay(review: ReviewWorld) -> None:
    await review.store.cameras.connect("yard", epoch=EPOCH, model_name="toy/1", connection="c")
    async with served(review) as http, open_page(f"{http.base_url}/#/cameras") as page:
        await page.click("#wall .zones")
        for _ in range(2):
            await page.click("#new-zone")
            await page.keyboard.press("Enter")
            await page.keyboard.type("gate")
        await page.click("#rules-save")

        await expect(page.locator("#rules-problem")).to_contain_text("two zones are called")
        await expect(page.locator("#rules-list li")).to_have_count(2)
