"""What the cloud costs around its detector, and what it gains.

    PYTHONPATH=tests python -m bench.cloud NAME [--frames N] [--rounds N]

    ingest     frames a second into Redis, and what it spends
    durability the same with each `CLOUD_DURABILITY`, without what it spends
    queue      the same from queue to result, without a model
    workers    one detect process against two on one Redis
    served     the whole service against the bare tail's batches
    paths      detection by features against decoding first

What is compared takes turns in every round of one run, so that other load on the machine falls on
both alike; a ratio is the median of the rounds' ratios. Redis is the embedded one, containers are
of the sample video. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from redis.asyncio import Redis

from bench.cloud_setup import (
    BATCH,
    CAMERAS,
    LEVEL,
    MIN_SCORE,
    QUALITY,
    QUEUE,
    Material,
    NullEngine,
    RedisCost,
    await_bound,
    cloud_process,
    load_material,
    pass_through,
    redis_cost,
    running_worker,
    send_stream,
)
from slimcloud.detect.engine import DetectionEngine
from slimcloud.settings import CloudSettings
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcodec.decode import Decoder
from slimdetect.detector import Detector
from slimdetect.scores import Wanted
from slimops.storage.durability import Durability
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client

# --- ingest ---


async def bench_ingest(client: Redis, url: str, frames: int, rounds: int) -> None:
    """Real streams into a real ingest process; no detector runs."""
    material = _material(1)
    with cloud_process("ingest", url) as state:
        address = str((await await_bound(state))["grpc"])
        epochs = itertools.count(1)
        rates, costs = [], []
        for _ in range(rounds):
            before, started = await redis_cost(client), time.perf_counter()
            await asyncio.gather(
                *(send_stream(address, material, frames, next(epochs)) for _ in range(CAMERAS))
            )
            rates.append(CAMERAS * frames / (time.perf_counter() - started))
            costs.append((await redis_cost(client)).since(before))
        used_bytes = int((await client.info("memory"))["used_memory"])
    print(f"{frames} frames in each of {CAMERAS} streams")
    print(f"held in Redis: {used_bytes / (CAMERAS * frames * rounds):.0f} bytes a frame\n")
    _print_costs("PERSISTED", rates, costs, CAMERAS * frames)


async def bench_durability(_client: Redis, _url: str, frames: int, rounds: int) -> None:
    """As `bench_ingest`, into a Redis of each durability and an ingest process for each."""
    material = _material(1)
    epochs = itertools.count(1)
    with contextlib.ExitStack() as stack:
        turns: dict[str, Callable[[], Awaitable[float]]] = {}
        for durability in Durability:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = EmbeddedRedis(data, durability=durability, max_memory_bytes=2**31)
            server.start()
            stack.callback(server.stop)
            settings = {"CLOUD_DURABILITY": durability.value}
            state = stack.enter_context(cloud_process("ingest", server.url, settings))
            address = str((await await_bound(state))["grpc"])

            async def turn(address: str = address) -> float:
                started = time.perf_counter()
                await asyncio.gather(
                    *(send_stream(address, material, frames, next(epochs)) for _ in range(CAMERAS))
                )
                return time.perf_counter() - started

            turns[durability] = turn
        rates = await _take_turns(turns, CAMERAS * frames, rounds)
    print(f"{frames} frames in each of {CAMERAS} streams, {rounds} rounds\n")
    _print_rates(rates, Durability.SECOND)


# --- the queue without a model ---


async def bench_queue(client: Redis, _url: str, frames: int, rounds: int) -> None:
    """From put_frame to the stored result, by one worker whose engine does nothing."""
    material = _material(1)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    numbers = itertools.count()
    rates, costs = [], []
    async with running_worker(store, NullEngine()):
        for _ in range(rounds):
            before = await redis_cost(client)
            rates.append(frames / await pass_through(store, material, frames, numbers))
            costs.append((await redis_cost(client)).since(before))
    print(f"{frames} frames, {CAMERAS} cameras, batches of at most {BATCH}\n")
    _print_costs("results", rates, costs, frames)


def _print_costs(
    what: str, rates: Sequence[float], costs: Sequence[RedisCost], frames: int
) -> None:
    """
    Args:
        frames: of each round.
    """
    cpu_us = statistics.median(1e6 * cost.cpu_seconds / frames for cost in costs)
    network_bytes = statistics.median(cost.network_bytes / frames for cost in costs)
    print(
        f"| rounds | {what} per second | Redis: processor us a frame | its network bytes a frame |"
    )
    print(f"|---|---|---|---|\n| {len(rates)} | {statistics.median(rates):.0f} ", end="")
    print(f"| {cpu_us:.0f} | {network_bytes:.0f} |")


# --- one worker against two ---


async def bench_workers(client: Redis, url: str, frames: int, rounds: int) -> None:
    """Two real detect processes of one thread each; in half of the turns one is stopped."""
    material = _material(1)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    numbers = itertools.count()
    threads = {"CLOUD_DETECTOR_THREADS": "1", "CLOUD_ORDER_WAIT_SECONDS": "60"}
    with (
        cloud_process("detect", url, threads) as one,
        cloud_process("detect", url, threads) as two,
    ):
        await await_bound(one)
        other = int(str((await await_bound(two))["pid"]))
        rates: dict[int, list[float]] = {1: [], 2: []}
        for index in range(-1, rounds):
            for workers in (1, 2):
                if workers == 1:
                    os.kill(other, signal.SIGSTOP)
                seconds = await pass_through(store, material, frames, numbers)
                os.kill(other, signal.SIGCONT)
                if index >= 0:
                    rates[workers].append(frames / seconds)
    ratio = statistics.median(b / a for a, b in zip(rates[1], rates[2], strict=True))
    swaps = await _swapped(store)
    print(f"{frames} frames of {material.image_hw} a turn, {CAMERAS} cameras, {rounds} rounds\n")
    print("| workers of one thread | detections per second | ratio | told out of order |")
    print("|---|---|---|---|")
    print(f"| 1 | {statistics.median(rates[1]):.2f} | 1 | |")
    print(f"| 2 | {statistics.median(rates[2]):.2f} | {ratio:.2f} | {swaps} |")


async def _swapped(store: Store) -> int:
    """Frames that were told after a later one of their camera."""
    highest: dict[str, int] = {}
    swapped, after = 0, "0-0"
    while events := await store.feed.read(after, count=1000):
        after = events[-1].entry_id
        for event in events:
            if event.kind is FeedKind.FRAME_DETECTED and event.frame_id is not None:
                camera, sequence = event.camera_id, event.frame_id.sequence
                swapped += sequence < highest.get(camera, 0)
                highest[camera] = max(highest.get(camera, 0), sequence)
    return swapped


# --- the whole service against its tail ---


async def bench_served(client: Redis, _url: str, frames: int, rounds: int) -> None:
    """put_frame to stored detections in one process, against the tail's graph alone in batches."""
    material = _material(None)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    engine = DetectionEngine(
        material.codec,
        material.detector,
        material.runtime,
        CloudSettings(max_batch_size=BATCH, min_score=MIN_SCORE),
    )
    owner = material.codec if "tail.onnx" in material.codec.manifest.files else material.detector
    tail = material.runtime.load(owner.file("tail.onnx"))
    transform = material.runtime.load(material.codec.file("feature_transform.onnx"))
    latent = Decoder(material.codec, material.runtime).decode_latent(material.containers[0])
    y_hat = np.repeat(latent.y_hat, BATCH, axis=0)
    level = np.eye(len(material.codec.levels), dtype=np.float32)[[LEVEL] * BATCH]
    f_hat = transform(y_hat=y_hat, level=level)["f_hat"]
    numbers = itertools.count()

    def tails() -> float:
        started = time.perf_counter()
        for _ in range(frames // BATCH):
            tail(f=f_hat)
        return time.perf_counter() - started

    def both() -> float:
        started = time.perf_counter()
        for _ in range(frames // BATCH):
            tail(f=transform(y_hat=y_hat, level=level)["f_hat"])
        return time.perf_counter() - started

    async with running_worker(store, engine):
        turns: dict[str, Callable[[], Awaitable[float]]] = {
            "served": lambda: pass_through(store, material, frames, numbers),
            "bare tail": lambda: asyncio.to_thread(tails),
            "bare feature transform and tail": lambda: asyncio.to_thread(both),
        }
        rates = await _take_turns(turns, frames, rounds)
    engine.close()
    print(f"{frames} frames of {material.image_hw} a turn, batches of {BATCH}, {rounds} rounds\n")
    _print_rates(rates, "served")


# --- features against pictures ---


async def bench_paths(_client: Redis, _url: str, frames: int, rounds: int) -> None:
    """From the same containers, one at a time."""
    material = _material(None)
    decoder = Decoder(material.codec, material.runtime)
    detector = Detector(material.codec, material.detector, material.runtime, BATCH)
    containers = list(itertools.islice(itertools.cycle(material.containers), frames))

    def by_features() -> float:
        started = time.perf_counter()
        for container in containers:
            detector.detect_latents([decoder.decode_latent(container)], Wanted(MIN_SCORE))
        return time.perf_counter() - started

    def by_picture() -> float:
        started = time.perf_counter()
        for container in containers:
            image = decoder.decode_image(decoder.decode_latent(container))
            detector.detect_image(image, Wanted(MIN_SCORE))
        return time.perf_counter() - started

    turns: dict[str, Callable[[], Awaitable[float]]] = {
        "features, then detect": lambda: asyncio.to_thread(by_features),
        "decode, then detect": lambda: asyncio.to_thread(by_picture),
    }
    rates = await _take_turns(turns, frames, rounds)
    print(f"{frames} frames of {material.image_hw} a turn, one at a time, {rounds} rounds\n")
    _print_rates(rates, "features, then detect")


# --- common ---


def _material(threads: int | None) -> Material:
    material = load_material(threads)
    mean_bytes = statistics.mean(map(len, material.containers))
    print(f"{material.codec.label} at level {LEVEL}, quality {QUALITY}: ", end="")
    print(f"{mean_bytes:.0f} bytes a container")
    return material


async def _take_turns(
    turns: dict[str, Callable[[], Awaitable[float]]], frames: int, rounds: int
) -> dict[str, list[float]]:
    """Frames per second of each turn in each round; the first round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for index in range(-1, rounds):
        for name, turn in turns.items():
            seconds = await turn()
            if index >= 0:
                rates[name].append(frames / seconds)
    return rates


def _print_rates(rates: dict[str, list[float]], first: str) -> None:
    print(f"| | frames per second | {first} / this |")
    print("|---|---|---|")
    for name, each in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[first], each, strict=True))
        print(f"| {name} | {statistics.median(each):.2f} | {ratio:.2f} |")


BENCHES = {
    "ingest": bench_ingest,
    "durability": bench_durability,
    "queue": bench_queue,
    "workers": bench_workers,
    "served": bench_served,
    "paths": bench_paths,
}


async def _run(name: str, frames: int, rounds: int, data: Path) -> None:
    server = EmbeddedRedis(data, max_memory_bytes=2**31)
    server.start()
    client = redis_client(server.url)
    try:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, Redis ", end="")
        print((await client.info("server"))["redis_version"])
        await BENCHES[name](client, server.url, frames, rounds)
    finally:
        await client.aclose()
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--frames", type=int, default=48, help="frames a turn")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slimwire-bench-") as data:
        asyncio.run(_run(arguments.name, arguments.frames, arguments.rounds, Path(data)))


if __name__ == "__main__":
    main()
