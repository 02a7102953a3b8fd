"""A headless Chromium that is installed (Debian: `apt install chromium`), driven by playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a chromium on the PATH: apt install chromium"
)
_PATIENCE_MS = 60_000  # a busy machine is slow; a step that never comes still fails


@asynccontextmanager
async def open_page(
    url: str, *, width: int = 1280, height: int = 900, dark: bool = False
) -> AsyncIterator[Page]:
    """The page in a browser of its own; errors of its scripts fail the test that opened it."""
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        page.set_default_timeout(_PATIENCE_MS)
        expect.set_options(timeout=_PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console", lambda message: errors.append(message.text) if _is_ours(message) else None
        )
        await page.goto(url)
        yield page
        await browser.close()
        assert errors == []


def _is_ours(message: ConsoleMessage) -> bool:
    """An error that the page made, a breach of its policy included; an answer of 4xx is none."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")
