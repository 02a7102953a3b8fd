"""Edges on one slow worker: who gets how much of it.

    PYTHONPATH=tests python -m bench.shares [--weights 1,1,1] [--seconds 60] [--deadline 1]

Ingest and each edge are real processes, the queue is a real Redis; only the detector is made up: it
takes so long for each picture, in batches of so many. The sample video in a loop at 10 frames a
second. Counting begins 15 deadlines after the last edge's first result. Prints Markdown. On a busy
machine a longer deadline, with the detector's times that go with it, hides what the machine takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from redis.asyncio import Redis

from bench.cloud_setup import ROOT, NullEngine, await_bound, cloud_process
from slimcloud.detect.engine import EngineJob, EngineResult
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store import keys
from slimcloud.store.frames import Store
from slimcloud.store.replies import text
from slimcodec.model.find import DEFAULT_MODEL
from slimops.metrics import Metrics
from slimops.storage.embedded_redis import EmbeddedRedis

WORKERS = ((0.1, 1), (0.3, 1), (0.4, 1), (0.2, 8))  # deadlines for a picture, largest batch
SETTLE_DEADLINES = 15


class SlowEngine(NullEngine):
    """Finds nothing, after so many seconds for each picture."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        seconds = self._seconds * len(jobs)
        await asyncio.sleep(seconds)
        return [EngineResult((), None, seconds) for _ in jobs]


@contextlib.contextmanager
def edge_process(camera_id: str, address: str, deadline: float, scratch: Path) -> Iterator[None]:
    """An edge that has only the smallest point to choose."""
    process = subprocess.Popen(
        [sys.executable, "-m", "slimcli", "edge"],
        env={
            **os.environ,
            "EDGE_CAMERA_ID": camera_id,
            "EDGE_CLOUD_ADDRESS": address,
            "EDGE_SOURCE": str(ROOT / "samples/street.mp4"),
            "EDGE_LOOP": "true",
            "EDGE_MODEL": DEFAULT_MODEL,
            "EDGE_MODELS_ROOT": str(ROOT / "models"),
            "EDGE_CACHE_FOLDER": str(scratch),
            "EDGE_ENCODER_THREADS": "1",
            "EDGE_LEVEL": "0",
            "EDGE_QUALITY": "1",
            "EDGE_MAX_FPS": "10",
            "EDGE_DEADLINE_SECONDS": str(deadline),
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def run(
    weights: Sequence[float], seconds: float, deadline: float, part: float, batch: int
) -> str:
    """One row of the table."""
    service_seconds = part * deadline
    names = [f"camera-{number}" for number in range(len(weights))]
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = EmbeddedRedis(scratch)
        server.start()
        stack.callback(server.stop)
        state = stack.enter_context(cloud_process("ingest", server.url, {"CLOUD_HTTP_PORT": "0"}))
        address = str((await await_bound(state))["grpc"])
        async with Redis.from_url(server.url) as client:
            store = Store(client)
            await store.work.prepare()
            worker = DetectWorker(
                store,
                SlowEngine(service_seconds),
                CloudSettings(max_batch_size=batch),
                DetectMetrics(Metrics("cloud")),
            )
            tasks = [asyncio.create_task(worker.run()), asyncio.create_task(worker.serve_batches())]
            for name, weight in zip(names, weights, strict=True):
                if weight != 1:
                    await store.cameras.set_weight(name, weight)
                stack.enter_context(edge_process(name, address, deadline, scratch))
            while not all([await latencies(client, store, name) for name in names]):
                await asyncio.sleep(1)
            await asyncio.sleep(SETTLE_DEADLINES * deadline)
            before = [len(await latencies(client, store, name)) for name in names]
            await asyncio.sleep(seconds)
            found = [
                (await latencies(client, store, name))[count:]
                for name, count in zip(names, before, strict=True)
            ]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    counts = [len(of) for of in found]
    in_time = sum(latency <= deadline for of in found for latency in of)
    busy = sum(counts) * service_seconds / seconds
    return (
        f"| {service_seconds:.1f} s, batches of {batch} | {', '.join(map(str, counts))} | "
        f"{100 * min(counts) / max(1, sum(counts)):.0f} % | {in_time} | {100 * busy:.0f} % |"
    )


async def latencies(client: Redis, store: Store, camera_id: str) -> list[float]:
    """Capture to detection of a camera's results, seconds, in order of capture."""
    ids = await client.zrange(keys.index_of(camera_id), 0, -1)
    found = []
    for frame_id in map(FrameId.parse, map(text, ids)):
        result = await store.get_detections(frame_id)
        if result is not None:
            captured_us = (await store.get_frame(frame_id)).capture_time_unix_us
            found.append((result.detected_time_unix_us - captured_us) / 1e6)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--weights", default="1,1,1", help="of each edge, with commas between")
    parser.add_argument("--seconds", type=float, default=60.0, help="that are counted, each time")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds")
    args = parser.parse_args()
    print("| each picture takes | results of each edge | smallest share | in time | busy |")
    print("|---|---|---|---|---|")
    for part, batch in WORKERS:
        row = run(
            [float(weight) for weight in args.weights.split(",")],
            args.seconds,
            args.deadline,
            part,
            batch,
        )
        print(asyncio.run(row), flush=True)


if __name__ == "__main__":
    main()
