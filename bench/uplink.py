"""A real edge over a shaped link: frames in time, and what passes its socket beside containers.

    PYTHONPATH=tests python -m bench.uplink VIDEO [--kbit 64] [--trip 0.02] [--fps 10]
        [--seconds 40] [--alone] [--key-seconds 60] [--noise 2]

VIDEO in a loop, a deadline of 1 s; `--alone` codes each frame alone. `--noise`: its first picture
again and again, with that deviation of Gaussian noise. The cloud answers at once, in another
process, and detects nothing: what is measured is edge, link and wire. Counted from the first
result on. In time: RECEIVED, PERSISTED and DETECTED were here within the deadline. Socket bytes are
those of IP packets, as the kernel tells them (`slimedge.link.traffic`).
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from slimcli.models import open_codec
from slimedge.app import run_edge
from slimedge.capture.source import open_source
from slimedge.event import Captured, Detected, EdgeEvent, Encoded, LinkTraffic, Sent
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink
from slimlinks.trace import constant_trace
from support.edge.fake_cloud import FakeCloud

DEADLINE_SECONDS = 1.0
MAX_DEPTH = 8
_NOISY_PICTURES = 40
_START_SECONDS = 120.0


@dataclass
class Count:
    """Watches an edge from its first result on."""

    begun: float | None = None  # monotonic seconds
    captured: int = 0
    sent: int = 0
    in_time: int = 0
    keys: int = 0
    container_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def notify(self, event: EdgeEvent) -> None:
        if self.begun is None:
            self.begun = time.monotonic() if isinstance(event, Detected) else None
            return
        match event:
            case Captured():
                self.captured += 1
            case Encoded():
                self.keys += event.kind == "intra"
            case Sent():
                self.sent += 1
                self.container_bytes += event.bitstream_bytes
            case Detected():
                self.in_time += event.latency_seconds <= DEADLINE_SECONDS
            case LinkTraffic():
                self.sent_bytes += event.sent_bytes
                self.received_bytes += event.received_bytes

    def row(self, seconds: float) -> str:
        kbit = [
            8 * count / seconds / 1000
            for count in (self.container_bytes, self.sent_bytes, self.received_bytes)
        ]
        frames = f"{self.captured} | {self.sent} | {self.in_time} | {self.keys}"
        return f"| {frames} | {kbit[0]:.1f} | {kbit[1]:.1f} | {kbit[2]:.1f} |"


def serve_link(pipe: Connection, fingerprint: bytes, depth: int, kbit: float, trip: float) -> None:
    """A cloud behind a link, in a process of its own, until the pipe says something."""

    async def serve() -> None:
        cloud = FakeCloud(fingerprint, max_reference_depth=depth)
        trace = constant_trace(1000 * kbit / 8) if kbit else None
        async with cloud, ShapedLink(cloud.address, trace, round_trip_seconds=trip) as link:
            pipe.send(link.address)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


async def measure(settings: EdgeSettings, seconds: float) -> tuple[Count, float]:
    """Run an edge for some seconds after its first result."""
    count, stop = Count(), asyncio.Event()
    running = asyncio.create_task(run_edge(settings, count, stop=stop))
    give_up = time.monotonic() + _START_SECONDS
    while count.begun is None and time.monotonic() < give_up:
        await asyncio.sleep(0.01)
    assert count.begun is not None, "nothing was detected"
    await asyncio.sleep(seconds)
    took = time.monotonic() - count.begun
    row = Count(**vars(count))
    stop.set()
    await running
    return row, took


def make_noisy(source: Path, deviation: float, folder: Path) -> None:
    """Write one picture of a video many times, each with other noise."""
    picture = next(open_source(str(source), 1.0).pictures()).image.astype(np.float32)
    for number in range(_NOISY_PICTURES):
        noise = np.random.default_rng(number).normal(0, deviation, picture.shape)
        noisy = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:03d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default="slim")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--kbit", type=float, default=0.0)
    parser.add_argument("--trip", type=float, default=0.02)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--key-seconds", type=float, default=60.0)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--noise", type=float, default=0.0)
    given = parser.parse_args()
    codec = open_codec(given.model, given.models)
    near, far = multiprocessing.get_context("spawn").Pipe()
    depth = 0 if given.alone else MAX_DEPTH
    cloud = multiprocessing.get_context("spawn").Process(
        target=serve_link, args=(far, codec.fingerprint, depth, given.kbit, given.trip)
    )
    cloud.start()
    with tempfile.TemporaryDirectory() as folder:
        if given.noise:
            make_noisy(given.video, given.noise, Path(folder))
        settings = EdgeSettings(
            source=folder if given.noise else str(given.video),
            cloud_address=near.recv(),
            model=given.model,
            models_root=given.models,
            loop=True,
            picture_fps=given.fps,
            max_fps=given.fps,
            key_seconds=given.key_seconds,
            deadline_seconds=DEADLINE_SECONDS,
        )
        count, seconds = asyncio.run(measure(settings, given.seconds))
    near.send("the end")
    cloud.join()
    print("| captured | sent | in time | keys | kbit/s of containers | out | in |")
    print(f"|{7 * '---|'}")
    print(count.row(seconds))


if __name__ == "__main__":
    main()
