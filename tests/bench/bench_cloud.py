"""What the cloud costs around its detector, and what it gains.

    python tests/bench/bench_cloud.py ingest     frames a second into Redis, and what it spends
    python tests/bench/bench_cloud.py queue      the same from queue to result, without a model
    python tests/bench/bench_cloud.py workers    one detect process against two on one Redis
    python tests/bench/bench_cloud.py served     the whole service against the bare tail's batches
    python tests/bench/bench_cloud.py paths      detection by features against decoding first

What is compared takes turns in every round of one run, so that other load on the machine falls on
both alike; a ratio is the median of the rounds' ratios. Redis is the embedded one, containers are
of the sample video. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import grpc.aio
import numpy as np
from redis.asyncio import Redis

from slimcloud.detect import DetectWorker
from slimcloud.detect_metrics import DetectMetrics
from slimcloud.engine import DetectionEngine, EngineJob, EngineResult
from slimcloud.frame_id import FrameId
from slimcloud.records import EventKind, NewFrame
from slimcloud.settings import CloudSettings
from slimcloud.store import Store, unix_us
from slimcodec import (
    CodecArtifact,
    Decoder,
    DetectorArtifact,
    Encoder,
    OpenVinoRuntime,
    find_model,
    load_codec_artifact,
    load_detector_artifact,
)
from slimdetect import Detector
from slimedge.source import open_source
from slimops import Metrics
from slimops.embedded_redis import EmbeddedRedis
from slimops.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

ROOT = Path(__file__).parents[2]
MODEL = "slim-n"
LEVEL, QUALITY = 3, 3
CAMERAS = 8
BATCH = 4
CREDIT_BYTES = 2**20
QUEUE = 100_000  # frames: nothing is refused
MIN_SCORE = 0.25


@dataclass(frozen=True)
class Material:
    """The model and some of its containers, all of one size."""

    codec: CodecArtifact
    detector: DetectorArtifact
    runtime: OpenVinoRuntime
    containers: list[bytes]
    image_hw: tuple[int, int]

    def frame(self, number: int) -> NewFrame:
        """The frame of that number since the start, its camera by turns."""
        return NewFrame(
            frame_id=FrameId(f"camera-{number % CAMERAS}", 1, 1 + number // CAMERAS),
            container=self.containers[number % len(self.containers)],
            level=LEVEL,
            quality=QUALITY,
            image_hw=self.image_hw,
            capture_time_unix_us=unix_us(),
            received_time_unix_us=unix_us(),
        )


def load_material(threads: int | None) -> Material:
    runtime = OpenVinoRuntime(num_threads=threads)
    codec = load_codec_artifact(find_model("codec", MODEL, ROOT / "models"))
    wanted = codec.manifest.detector
    assert wanted is not None, "a codec that ships names its detector"
    path = find_model("detector", f"{wanted.name}/{wanted.version}", ROOT / "models")
    pictures = open_source(str(ROOT / "samples/street.mp4"), 1.0).pictures()
    images = [picture.image for picture in itertools.islice(pictures, 0, 80, 5)]
    encoder = Encoder(codec, runtime)
    containers = [encoder.encode(image, LEVEL, QUALITY).bitstream for image in images]
    mean_bytes = sum(map(len, containers)) / len(containers)
    print(f"{codec.label} at level {LEVEL}, quality {QUALITY}: {mean_bytes:.0f} bytes a container")
    image_hw = (images[0].shape[0], images[0].shape[1])
    return Material(codec, load_detector_artifact(path), runtime, containers, image_hw)


# --- ingest ---


async def bench_ingest(client: Redis, url: str, frames: int, rounds: int) -> None:
    """Real streams into a real ingest process; no detector runs."""
    material = load_material(1)
    with _cloud_process("ingest", url) as state:
        address = str((await _bound(state))["grpc"])
        epochs = itertools.count(1)
        rates, costs = [], []
        for _ in range(rounds):
            before, started = await _redis_cost(client), time.perf_counter()
            await asyncio.gather(
                *(_stream(address, material, frames, next(epochs)) for _ in range(CAMERAS))
            )
            rates.append(CAMERAS * frames / (time.perf_counter() - started))
            costs.append((await _redis_cost(client)).since(before))
        used_bytes = int((await client.info("memory"))["used_memory"])
    print(f"{frames} frames in each of {CAMERAS} streams")
    print(f"held in Redis: {used_bytes / (CAMERAS * frames * rounds):.0f} bytes a frame\n")
    _print_costs("PERSISTED", rates, costs, CAMERAS * frames)


async def _stream(address: str, material: Material, frames: int, epoch: int) -> None:
    """One camera that sends as fast as its credit allows, until all is PERSISTED."""
    async with grpc.aio.insecure_channel(address) as channel:
        uplink = ingest_pb2_grpc.IngestServiceStub(channel).StreamFrames()  # type: ignore[call-arg]  # written to by hand
        hello = pb.Hello(
            camera_id=f"camera-{epoch % CAMERAS}",
            epoch=epoch,
            model_name=MODEL,
            model_fingerprint=material.codec.fingerprint,
        )
        await uplink.write(pb.StreamFramesRequest(hello=hello))
        sizes: dict[int, int] = {}
        room = asyncio.Condition()

        async def send() -> None:
            for sequence in range(1, frames + 1):
                container = material.containers[sequence % len(material.containers)]
                async with room:
                    await room.wait_for(lambda: sum(sizes.values()) < CREDIT_BYTES)
                    sizes[sequence] = len(container)
                frame = pb.Frame(
                    sequence=sequence,
                    capture_time_unix_us=unix_us(),
                    capture_time_mono_us=time.monotonic_ns() // 1000,
                    container=container,
                    container_crc32c=google_crc32c.value(container),
                    lane=pb.LANE_LIVE,
                )
                await uplink.write(pb.StreamFramesRequest(frame=frame))

        sending = asyncio.create_task(send())
        persisted = 0
        while persisted < frames:
            answer = await uplink.read()
            assert isinstance(answer, pb.StreamFramesResponse), "the cloud has ended the stream"
            if answer.HasField("nack"):
                raise RuntimeError(f"refused: {answer.nack.detail}")
            if answer.HasField("ack") and answer.ack.stage == pb.STAGE_PERSISTED:
                persisted += 1
                async with room:
                    del sizes[answer.ack.sequence]
                    room.notify_all()
        await sending
        uplink.cancel()


# --- the queue without a model ---


class NullEngine:
    """Finds nothing, at once."""

    codec_label = detector_label = "none/1"
    min_score = MIN_SCORE
    enhance_level: int | None = None

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        return [EngineResult((), None, 0.0) for _ in jobs]


async def bench_queue(client: Redis, _url: str, frames: int, rounds: int) -> None:
    """From put_frame to the stored result, by one worker whose engine does nothing."""
    material = load_material(1)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    numbers = itertools.count()
    rates, costs = [], []
    async with _worker(store, NullEngine()):
        for _ in range(rounds):
            before = await _redis_cost(client)
            rates.append(frames / await _through(store, material, frames, numbers))
            costs.append((await _redis_cost(client)).since(before))
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
    material = load_material(1)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    numbers = itertools.count()
    threads = {"CLOUD_DETECTOR_THREADS": "1", "CLOUD_ORDER_WAIT_SECONDS": "60"}
    with (
        _cloud_process("detect", url, threads) as one,
        _cloud_process("detect", url, threads) as two,
    ):
        await _bound(one)
        other = int(str((await _bound(two))["pid"]))
        rates: dict[int, list[float]] = {1: [], 2: []}
        for index in range(-1, rounds):
            for workers in (1, 2):
                if workers == 1:
                    os.kill(other, signal.SIGSTOP)
                seconds = await _through(store, material, frames, numbers)
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
    while events := await store.events.read(after, count=1000):
        after = events[-1].event_id
        for event in events:
            if event.kind is EventKind.FRAME_DETECTED and event.frame_id is not None:
                camera, sequence = event.camera_id, event.frame_id.sequence
                swapped += sequence < highest.get(camera, 0)
                highest[camera] = max(highest.get(camera, 0), sequence)
    return swapped


# --- the whole service against its tail ---


async def bench_served(client: Redis, _url: str, frames: int, rounds: int) -> None:
    """put_frame to stored detections in one process, against the tail's graph alone in batches."""
    material = load_material(None)
    store = Store(client, max_queue_size=QUEUE)
    await store.work.prepare()
    engine = DetectionEngine(
        material.codec,
        material.detector,
        material.runtime,
        max_pixels=2**24,
        max_batch_size=BATCH,
        min_score=MIN_SCORE,
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

    async with _worker(store, engine):
        turns: dict[str, Callable[[], Awaitable[float]]] = {
            "served": lambda: _through(store, material, frames, numbers),
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
    material = load_material(None)
    decoder = Decoder(material.codec, material.runtime)
    detector = Detector(material.codec, material.detector, material.runtime, BATCH)
    containers = list(itertools.islice(itertools.cycle(material.containers), frames))

    def by_features() -> float:
        started = time.perf_counter()
        for container in containers:
            detector.detect_latents([decoder.decode_latent(container)], MIN_SCORE)
        return time.perf_counter() - started

    def by_picture() -> float:
        started = time.perf_counter()
        for container in containers:
            image = decoder.decode_image(decoder.decode_latent(container))
            detector.detect_image(image, MIN_SCORE)
        return time.perf_counter() - started

    turns: dict[str, Callable[[], Awaitable[float]]] = {
        "features, then detect": lambda: asyncio.to_thread(by_features),
        "decode, then detect": lambda: asyncio.to_thread(by_picture),
    }
    rates = await _take_turns(turns, frames, rounds)
    print(f"{frames} frames of {material.image_hw} a turn, one at a time, {rounds} rounds\n")
    _print_rates(rates, "features, then detect")


# --- common ---


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


async def _through(store: Store, material: Material, frames: int, numbers: Iterator[int]) -> float:
    """Seconds from the first frame put to the last one detected."""
    goal = (await store.totals()).detected + frames
    started = time.perf_counter()
    for number in itertools.islice(numbers, frames):
        await store.put_frame(material.frame(number))
    while (await store.totals()).detected < goal:
        await asyncio.sleep(0.02)
    return time.perf_counter() - started


@contextlib.asynccontextmanager
async def _worker(store: Store, engine: NullEngine | DetectionEngine) -> AsyncIterator[None]:
    settings = CloudSettings(max_batch_size=BATCH, max_queue_size=QUEUE)
    worker = DetectWorker(store, engine, settings, DetectMetrics(Metrics("cloud")))
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(worker.serve_batches())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _cloud_process(role: str, url: str, settings: dict[str, str] | None = None) -> Iterator[Path]:
    """A `slimwire cloud` process; gives the file in which it says where it listens."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "slimcli", "cloud", "--role", role],
            env={
                **os.environ,
                "CLOUD_REDIS_URL": url,
                "CLOUD_MODELS_ROOT": str(ROOT / "models"),
                "CLOUD_MODEL": MODEL,
                "CLOUD_GRPC_PORT": "0",
                "CLOUD_STATE_FILE": str(state),
                "CLOUD_MAX_QUEUE_SIZE": str(QUEUE),
                "CLOUD_CREDIT_BYTES": str(CREDIT_BYTES),
                "CLOUD_MAX_STORED_BYTES": str(2**30),
                "CLOUD_LOG_LEVEL": "ERROR",
                **(settings or {}),
            },
        )
        try:
            yield state
        finally:
            process.terminate()
            process.wait()


async def _bound(state: Path) -> dict[str, object]:
    while not state.exists():
        await asyncio.sleep(0.05)
    document: dict[str, object] = json.loads(state.read_text())
    return document


@dataclass(frozen=True)
class RedisCost:
    """What Redis has spent: processor time (its network included), and bytes in and out."""

    cpu_seconds: float
    network_bytes: float

    def since(self, before: RedisCost) -> RedisCost:
        return RedisCost(
            self.cpu_seconds - before.cpu_seconds, self.network_bytes - before.network_bytes
        )


async def _redis_cost(client: Redis) -> RedisCost:
    cpu = await client.info("cpu")
    stats = await client.info("stats")
    return RedisCost(
        float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
        float(stats["total_net_input_bytes"]) + float(stats["total_net_output_bytes"]),
    )


BENCHES = {
    "ingest": bench_ingest,
    "queue": bench_queue,
    "workers": bench_workers,
    "served": bench_served,
    "paths": bench_paths,
}


async def _run(name: str, frames: int, rounds: int) -> None:
    server = EmbeddedRedis(max_memory_bytes=2**31)
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
    asyncio.run(_run(arguments.name, arguments.frames, arguments.rounds))


if __name__ == "__main__":
    main()
