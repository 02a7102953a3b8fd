"""From the frame in which somebody enters to the webhook that tells of it.

    PYTHONPATH=tests python -m bench.notify VIDEO [--fps 5] [--label person] [--seconds 120]

A real cloud (all roles, embedded Redis) and a real edge that sends VIDEO in a loop at so many
frames a second, and a receiver on loopback: three processes and one clock. An entry is an event of
the label that begins; its time is that of the capture of its first frame. Prints Markdown.
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
from support.cloud.receiver import http_receiver

SECRET = "whsec_" + "A" * 32


async def measure(video: Path, fps: float, label: str, seconds: float) -> list[tuple[float, float]]:
    """Of each entry the seconds until the webhook, and those of them after it was an event."""
    waits: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "cloud.json")
        async with http_receiver() as receiver:
            webhook = {"name": "bench", "url": receiver.url, "secret": SECRET, "labels": [label]}
            cloud = {
                "CLOUD_GRPC_PORT": "0",
                "CLOUD_HTTP_PORT": "0",
                "CLOUD_DATA": folder,
                "CLOUD_LOG_LEVEL": "WARNING",
                "CLOUD_STATE_FILE": str(state),
                "CLOUD_WEBHOOKS": json.dumps([webhook]),
            }
            with _service("cloud", cloud):
                edge = {
                    "EDGE_CLOUD_ADDRESS": str((await await_bound(state))["grpc"]),
                    "EDGE_SOURCE": str(video),
                    "EDGE_LOOP": "true",
                    "EDGE_MAX_FPS": str(fps),
                }
                with _service("edge", edge), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        while True:
                            told = json.loads((await receiver.asked.get()).body)
                            now = time.time()
                            begin, event = (
                                now - datetime.fromisoformat(text).timestamp()
                                for text in (told["data"]["begin"], told["timestamp"])
                            )
                            if told["type"] == "event.begun":
                                waits.append((begin, event))
    return waits


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
    (p50, of_it_50), (p95, of_it_95) = np.percentile(waits or [(np.nan, np.nan)], (50, 95), axis=0)
    print("| video | frames/s | entries | p50, s | p95, s | of it after the event, s | load |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {args.video.stem} | {args.fps:g} | {len(waits)} | {p50:.2f} | {p95:.2f} "
        f"| {of_it_50:.2f}, {of_it_95:.2f} | {load:.1f} to {os.getloadavg()[0]:.1f} |"
    )


if __name__ == "__main__":
    main()
