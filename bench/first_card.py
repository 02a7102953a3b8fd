"""The page's time to its first card, with much in the store over with next to nothing.

    PYTHONPATH=tests python -m bench.first_card [--frames 100000] [--events 2000] [--loads 5]

Two reviews, one over a Redis with a single frame and its event, opened by turns in a headless
Chromium: from the request to the first card of an event, and to its picture. Frames, of made-up
pictures, and events are written by the store's own methods; each event has one of the frames as its
best. Prints Markdown.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from playwright.async_api import Browser, async_playwright

from slimcloud.events.event import Event, EventState, event_id_of
from slimcloud.frame_id import FrameId
from slimcloud.roles import Role
from slimcloud.settings import CloudSettings
from slimcloud.store.events.event_index import ToldEvent
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.wall_clock import unix_us
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client
from support.cloud.browser import CHROMIUM
from support.cloud.frames import make_frame, make_result
from support.cloud.whole_cloud import open_cloud
from support.models.toy_artifact import make_image

PERIOD_US = 1_000_000  # from frame to frame of a camera
CAMERAS = 8
LABELS = ("person", "car", "bicycle")
AT_ONCE = 64  # of what is written
IMAGE_HW = (480, 640)


async def fill(store: Store, containers: Sequence[bytes], frames: int, events: int) -> None:
    """The frames end now, and are detected; events are spread over them."""
    begin_us = unix_us() - frames * PERIOD_US // CAMERAS
    dice = random.Random(1)

    async def put(number: int) -> FrameId:
        made = make_frame(
            number // CAMERAS + 1,
            camera_id=f"camera-{number % CAMERAS}",
            container=containers[number % len(containers)],
            image_hw=IMAGE_HW,
            capture_us=begin_us + number * PERIOD_US // CAMERAS,
        )
        await store.put_frame(made.record, made.container)
        await store.put_detections(made.frame_id, make_result((dice.choice(LABELS), 0.9)))
        return made.frame_id

    frame_ids: list[FrameId] = []
    for first in range(0, frames, AT_ONCE):
        numbers = range(first, min(frames, first + AT_ONCE))
        frame_ids += await asyncio.gather(*map(put, numbers))
    runner, until_us = "bench", store.clock() + 10**12
    told = [
        ToldEvent(FeedKind.EVENT_ENDED, _event(frame_ids[n * frames // events], n), until_us)
        for n in range(events)
    ]
    for first in range(0, events, AT_ONCE):
        at = await store.event_index.lead(runner)
        assert at is not None, "nobody else makes events"
        assert await store.event_index.commit(runner, at, at, {}, told[first : first + AT_ONCE])


def _event(best: FrameId, number: int) -> Event:
    begin_us = unix_us() - (10**6) * (number + 1)
    return Event(
        event_id=event_id_of(best.camera_id, begin_us, number),
        camera=best.camera_id,
        labels=(LABELS[number % len(LABELS)],),
        begin_us=begin_us,
        end_us=begin_us + 500_000,
        state=EventState.ENDED,
        objects=1,
        score=0.9,
        best_frame_id=best,
        best_box=(0.1, 0.1, 0.5, 0.5),
    )


async def load(browser: Browser, url: str) -> tuple[float, float]:
    """Seconds to the first card and to its picture, with nothing cached."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    started = time.perf_counter()
    await page.goto(url, wait_until="commit")
    await page.wait_for_selector("#events > li")
    card = time.perf_counter() - started
    await page.wait_for_selector("#events > li image")
    picture = time.perf_counter() - started
    await context.close()
    return card, picture


async def measure(frames: int, events: int, loads: int) -> None:
    """Print the table."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
        encoder = Encoder(codec, OpenVinoRuntime())
        containers = [
            encoder.encode(make_image(*IMAGE_HW, seed=seed), 0, 2).bitstream for seed in range(8)
        ]
        urls = []
        for name, size in (("one", (1, 1)), ("many", (frames, events))):
            server = EmbeddedRedis(scratch / name, max_memory_bytes=2**31)
            server.start()
            stack.callback(server.stop)
            client = await stack.enter_async_context(redis_client(server.url))
            started = time.perf_counter()
            await fill(Store(client), containers, *size)
            print(f"{size[0]} frames written in {time.perf_counter() - started:.0f} s", flush=True)
            settings = CloudSettings(role=Role.REVIEW, redis_url=server.url, http_port=0)
            cloud = await stack.enter_async_context(open_cloud(settings))
            urls.append(str(cloud.addresses.http))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            for url in urls:
                await load(browser, url)  # caches of the system
            by_cloud = [[await load(browser, url) for url in urls] for _ in range(loads)]
            await browser.close()
    print(f"load {os.getloadavg()[0]:.1f}\n")
    print("| | one frame, one event | many | ratio, median |\n|---|---|---|---|")
    for which, name in enumerate(("first card", "its picture")):
        one, many = ([pair[cloud][which] for pair in by_cloud] for cloud in range(2))
        ratio = median(b / a for a, b in zip(one, many, strict=True))
        print(f"| {name} | {median(one):.2f} s | {median(many):.2f} s | {ratio:.2f} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.frames, arguments.events, arguments.loads))


if __name__ == "__main__":
    main()
