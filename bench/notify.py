"""From the frame in which somebody enters to the webhook and the broker that tell of it.

    PYTHONPATH=tests python -m bench.notify VIDEO [--fps 5] [--label person] [--seconds 120]

A real cloud (all roles, embedded Redis) and a real edge that sends VIDEO in a loop at so many
frames a second, a webhook's receiver and, where it is installed, mosquitto: on one machine, by one
clock. An entry is an event of the label that begins; its time is that of the capture of its first
frame. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from bench.cloud_setup import await_bound
from support.cloud.broker import MOSQUITTO, Broker
from support.cloud.receiver import http_receiver

SECRET = "whsec_" + "A" * 32

Wait = tuple[float, float]  # seconds: since its first frame was captured; since it is an event


async def measure(video: Path, fps: float, label: str, seconds: float) -> dict[str, list[Wait]]:
    """What was waited for each entry, by who was told."""
    waits: dict[str, list[Wait]] = {"webhook": [], "MQTT": []}
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        state = Path(folder, "cloud.json")
        receiver = await stack.enter_async_context(http_receiver())
        webhook = {"name": "bench", "url": receiver.url, "secret": SECRET, "labels": [label]}
        cloud = {
            "CLOUD_GRPC_PORT": "0",
            "CLOUD_HTTP_PORT": "0",
            "CLOUD_DATA": folder,
            "CLOUD_LOG_LEVEL": "WARNING",
            "CLOUD_STATE_FILE": str(state),
            "CLOUD_WEBHOOKS": json.dumps([webhook]),
        }
        heard = None
        if MOSQUITTO is not None:
            broker = Broker(Path(folder))
            await broker.start()
            stack.push_async_callback(broker.stop)
            heard = await stack.enter_async_context(broker.listening())
            cloud["CLOUD_MQTT_URL"] = broker.url
        stack.enter_context(_service("cloud", cloud))
        edge = {
            "EDGE_CLOUD_ADDRESS": str((await await_bound(state))["grpc"]),
            "EDGE_SOURCE": str(video),
            "EDGE_LOOP": "true",
            "EDGE_MAX_FPS": str(fps),
        }
        stack.enter_context(_service("edge", edge))

        async def hear_webhook() -> None:
            while True:
                _note(waits["webhook"], (await receiver.asked.get()).body, label)

        async def hear_broker() -> None:
            while heard is not None:
                topic, payload = await heard.get()
                if topic.endswith("/events"):
                    _note(waits["MQTT"], payload, label)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(hear_webhook(), hear_broker())
    return waits


def _note(waits: list[Wait], body: str | bytes, label: str) -> None:
    now, told = time.time(), json.loads(body)
    if told["type"] == "event.begun" and label in told["data"]["labels"]:
        begin, event = (
            now - datetime.fromisoformat(text).timestamp()
            for text in (told["data"]["begin"], told["timestamp"])
        )
        waits.append((begin, event))


@contextlib.contextmanager
def _service(name: str, settings: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "slimcli", name],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
        if process.poll() is not None:
            sys.exit(f"the {name} has ended by itself")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--label", default="person")
    parser.add_argument("--seconds", type=float, default=120.0)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    waits = asyncio.run(measure(args.video, args.fps, args.label, args.seconds))
    print("| told | entries | p50, s | p95, s | of it after the event, s | load |")
    print("|---|---|---|---|---|---|")
    for name, found in waits.items():
        middle, late = np.percentile(found or [(np.nan, np.nan)], (50, 95), axis=0)
        print(
            f"| {name} | {len(found)} | {middle[0]:.2f} | {late[0]:.2f} "
            f"| {middle[1]:.2f}, {late[1]:.2f} | {load:.0f} to {os.getloadavg()[0]:.0f} |"
        )


if __name__ == "__main__":
    main()
