"""What the benches of the cloud run: real processes, streams and workers on one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import grpc.aio
from redis.asyncio import Redis

from slimcloud.detect.engine import DetectionEngine, EngineJob, EngineResult
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, Lane, StoredFrame
from slimcloud.wall_clock import unix_us
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimedge.capture.source import open_source
from slimops.metrics import Metrics
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

ROOT = Path(__file__).parents[1]
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

    def frame(self, number: int) -> tuple[StoredFrame, bytes]:
        """The frame of that number since the start, its camera by turns."""
        container = self.containers[number % len(self.containers)]
        record = StoredFrame(
            frame_id=FrameId(f"camera-{number % CAMERAS}", 1, 1 + number // CAMERAS),
            level=LEVEL,
            quality=QUALITY,
            image_height=self.image_hw[0],
            image_width=self.image_hw[1],
            capture_time_unix_us=unix_us(),
            received_time_unix_us=unix_us(),
            expires_unix_us=0,
            lane=Lane.LIVE,
            base_bytes=len(container),
            state=FrameState.QUEUED,
        )
        return record, container


def load_material(threads: int | None) -> Material:
    runtime = OpenVinoRuntime(num_threads=threads)
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models"))
    pictures = open_source(str(ROOT / "samples/street.mp4"), 1.0).pictures()
    images = [picture.image for picture in itertools.islice(pictures, 0, 80, 5)]
    encoder = Encoder(codec, runtime)
    containers = [encoder.encode(image, LEVEL, QUALITY).bitstream for image in images]
    image_hw = (images[0].shape[0], images[0].shape[1])
    return Material(codec, load_detector_of(codec, ROOT / "models"), runtime, containers, image_hw)


async def send_stream(address: str, material: Material, frames: int, epoch: int) -> None:
    """One camera that sends as fast as its credit allows, until all is PERSISTED."""
    async with grpc.aio.insecure_channel(address) as channel:
        uplink = ingest_pb2_grpc.IngestServiceStub(channel).StreamFrames()  # type: ignore[call-arg]  # written to by hand
        hello = pb.Hello(
            camera_id=f"camera-{epoch % CAMERAS}",
            epoch=epoch,
            model_name=DEFAULT_MODEL,
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


class NullEngine:
    """Finds nothing, at once."""

    codec_label = detector_label = "none/1"
    min_score = MIN_SCORE

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw

    def kept(self, frame_id: FrameId) -> None:
        return None

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        return [EngineResult((), None, 0.0) for _ in jobs]


async def pass_through(
    store: Store, material: Material, frames: int, numbers: Iterator[int]
) -> float:
    """Seconds from the first frame put to the last one detected."""
    goal = (await store.totals()).detected + frames
    started = time.perf_counter()
    for number in itertools.islice(numbers, frames):
        await store.put_frame(*material.frame(number))
    while (await store.totals()).detected < goal:
        await asyncio.sleep(0.02)
    return time.perf_counter() - started


@contextlib.asynccontextmanager
async def running_worker(store: Store, engine: NullEngine | DetectionEngine) -> AsyncIterator[None]:
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
def cloud_process(
    role: str, url: str, settings: dict[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[Path]:
    """A `slimwire cloud` process, its command behind `prefix`; gives the file in which it says
    where it listens.
    """
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state.json"
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "slimcli", "cloud", "--role", role],
            env={
                **os.environ,
                "CLOUD_REDIS_URL": url,
                "CLOUD_MODELS_ROOT": str(ROOT / "models"),
                "CLOUD_MODEL": DEFAULT_MODEL,
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


async def await_bound(state: Path) -> dict[str, object]:
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


async def redis_cost(client: Redis) -> RedisCost:
    cpu = await client.info("cpu")
    stats = await client.info("stats")
    return RedisCost(
        float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
        float(stats["total_net_input_bytes"]) + float(stats["total_net_output_bytes"]),
    )
