"""A camera's hour in the store: its bytes, how long a frame takes to open, what a budget leaves.

    PYTHONPATH=tests python -m bench.camera_hour VIDEO [--fps 1] [--minutes 60] [--opened 200]

VIDEO in a loop at so many frames a second, from the real encoder over the real ingest into a real
Redis, as fast as they go; their capture times are as far apart as they would be. A frame goes when
the one before it is PERSISTED, as it is at such rates. Points are those that the edge's controller
has where nothing limits the link. The detector finds in each frame what the uncut one finds in the
picture that it was made of, once for all loops.

Opened are frames picked at random, inter and alone by turns, by a decoder that holds nothing: from
Redis to the picture. At last half of the bytes are allowed, retention sweeps, and of what is left
all must have what they need, and as many as were opened must decode. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from bench.cloud_setup import NullEngine, await_bound, cloud_process, running_worker
from slimcli.models import open_detector
from slimcloud.chain import ChainDecoder, CodedFrame
from slimcloud.detect.engine import EngineJob, EngineResult
from slimcloud.errors import FrameGoneError
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.store.retention import FRAME_BYTES
from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimcodec.sequence import SentFrame, SequenceEncoder
from slimcontrol.point import OperatingPoint, build_frontier, inter_points
from slimcontrol.profile import build_operating_points
from slimdetect.detector import Detector
from slimdetect.scores import SHOWN
from slimedge.capture.source import open_source
from slimedge.settings import EdgeSettings
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

CAMERA, EPOCH = "hour", 1
_BYTE_PRICE = EdgeSettings.model_fields["byte_price"].default
_US = 1_000_000


class KnownEngine(NullEngine):
    """Finds what is known of each picture of a loop."""

    def __init__(self, found: Sequence[Sequence[Detection]]) -> None:
        self._found = found

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        sequences = [0 if job.frame_id is None else job.frame_id.sequence for job in jobs]
        return [EngineResult(self._found[n % len(self._found)], None, 0.0) for n in sequences]


@dataclass(frozen=True)
class Camera:
    """What is sent, and how."""

    images: Sequence[NDArray[np.uint8]]  # of a loop
    fps: float
    key: OperatingPoint
    inter: OperatingPoint


class Uplink:
    """One stream of an edge that waits for each frame's PERSISTED."""

    def __init__(self, address: str, fingerprint: bytes) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        stub = ingest_pb2_grpc.IngestServiceStub(self._channel)
        self._call = stub.StreamFrames()  # type: ignore[call-arg]  # written to by hand
        self._fingerprint = fingerprint

    async def greet(self) -> pb.Welcome:
        hello = pb.Hello(
            camera_id=CAMERA,
            epoch=EPOCH,
            model_name=DEFAULT_MODEL,
            model_fingerprint=self._fingerprint,
            protocol_minor=2,
            time_mono_us=time.monotonic_ns() // 1000,
            time_unix_us=time.time_ns() // 1000,
        )
        await self._call.write(pb.StreamFramesRequest(hello=hello))
        return (await self._hear()).welcome

    async def send(self, sent: SentFrame, capture_time_unix_us: int) -> None:
        """Return when the frame is PERSISTED."""
        frame = pb.Frame(
            sequence=sent.number,
            capture_time_unix_us=capture_time_unix_us,
            container=sent.encoded.bitstream,
            reference_sequence=0 if sent.reference is None else sent.reference.number,
        )
        await self._call.write(pb.StreamFramesRequest(frame=frame))
        while True:
            answer = await self._hear()
            assert not answer.HasField("nack"), f"refused: {answer.nack.detail}"
            if answer.ack.sequence == sent.number and answer.ack.stage == pb.STAGE_PERSISTED:
                return

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close(None)

    async def _hear(self) -> pb.StreamFramesResponse:
        answer = await self._call.read()
        assert isinstance(answer, pb.StreamFramesResponse), "the cloud has ended the stream"
        return answer


async def fill(uplink: Uplink, camera: Camera, sequence: SequenceEncoder, frames: int) -> list[str]:
    """Send so many frames; gives the kind of each."""
    sequence.max_depth = (await uplink.greet()).max_reference_depth
    began_us = time.time_ns() // 1000 - round(_US * frames / camera.fps)
    kinds: list[str] = []
    for number in range(frames):
        seconds = number / camera.fps
        point = camera.key if sequence.is_key_due(seconds) else camera.inter
        sequence.level, sequence.quality = point.level, point.quality
        sent = sequence.encode(camera.images[number % len(camera.images)], seconds)
        await uplink.send(sent, began_us + round(_US * seconds))
        sequence.received(sent)
        kinds.append(sent.kind)
    return kinds


async def open_frames(
    store: Store, codec: CodecArtifact, runtime: OpenVinoRuntime, sequences: Sequence[int]
) -> tuple[list[float], int]:
    """Seconds that each takes from Redis to its picture, and the most containers that one read."""
    seconds, most, decoder = [], 0, Decoder(codec, runtime)
    for sequence in sequences:
        frame_id, chains = FrameId(CAMERA, EPOCH, sequence), ChainDecoder(decoder, codec)
        started = time.perf_counter()
        base = await store.get_container(frame_id)
        (needed,) = await store.load_chains([frame_id])
        chains.decode_image(chains.decode(CodedFrame(base, None, frame_id, needed)).latent)
        seconds.append(time.perf_counter() - started)
        most = max(most, 1 + len(needed))
    return seconds, most


async def measure(client: Redis, url: str, camera: Camera, args: argparse.Namespace) -> None:
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    runtime = OpenVinoRuntime(num_threads=1)
    detector = Detector(codec, open_detector(codec, None), runtime)
    found = [detector.detect_image(image, SHOWN) for image in camera.images]
    frames = round(60 * args.minutes * camera.fps)
    sequence = SequenceEncoder(Encoder(codec, runtime), 0, 0)
    store, started = Store(client), time.perf_counter()
    await store.work.prepare()
    with cloud_process("ingest", url) as state:
        uplink = Uplink(str((await await_bound(state))["grpc"]), codec.fingerprint)
        empty_bytes = int((await client.info("memory"))["used_memory"])
        async with running_worker(store, KnownEngine(found)):
            kinds = await fill(uplink, camera, sequence, frames)
            while (await store.totals()).detected < frames:
                await asyncio.sleep(0.1)
        await uplink.close()
    totals = await store.totals()
    redis_bytes = int((await client.info("memory"))["used_memory"]) - empty_bytes
    counted = totals.stored_bytes / frames + FRAME_BYTES
    budget = CloudSettings.model_fields["max_stored_bytes"].default
    print(
        f"{frames} frames in {time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.1f}"
    )
    print(f"kinds: { {kind: kinds.count(kind) for kind in sorted(set(kinds))} }")
    print(f"points, key {_named(camera.key)}, others {_named(camera.inter)}")
    print(f"containers: {totals.frame_bytes} bytes, {totals.frame_bytes / frames:.1f} a frame, ")
    print(f"{8 * totals.frame_bytes / (frames / camera.fps) / 1000:.2f} kbit/s")
    print(f"results: {(totals.stored_bytes - totals.frame_bytes) / frames:.0f} bytes a frame")
    print(f"Redis: {redis_bytes} bytes, {redis_bytes / frames:.0f} a frame, of which ")
    print(f"{(redis_bytes - totals.frame_bytes) / frames:.0f} are no container's")
    hours = budget / counted / camera.fps / 3600
    print(f"hours of it in the default store ({budget} bytes, {FRAME_BYTES} a frame): {hours:.1f}")
    kept = [number for number, kind in enumerate(kinds, start=1) if kind != "intra"]
    alone = [number for number, kind in enumerate(kinds, start=1) if kind == "intra"]
    await open_in_turns(store, codec, runtime, {"inter": kept, "intra": alone}, args.opened)
    half = Store(client, max_stored_bytes=round(frames * counted / 2))
    removed = await half.retention.sweep()
    stored = (await store.totals()).stored_bytes + (frames - removed) * FRAME_BYTES
    left = [n for n in range(1, frames + 1) if await _is_there(store, n)]
    trees = sum(kinds[number - 1] == "intra" for number in left)
    print(f"half the bytes: {removed} frames removed, {len(left)} left in {trees} trees, they are ")
    print(f"{left[0]} to {left[-1]}, {stored / (frames * counted):.3f} of what was counted")
    for number in left:
        (chain,) = await store.load_chains([FrameId(CAMERA, EPOCH, number)])
        assert all(container for _, container in chain), "what a frame needs is left with it"
    picked = random.Random(1).sample(left, min(args.opened, len(left)))
    await open_frames(store, codec, runtime, picked)
    print(f"{len(picked)} of them opened")


async def open_in_turns(
    store: Store,
    codec: CodecArtifact,
    runtime: OpenVinoRuntime,
    numbers: dict[str, list[int]],
    opened: int,
) -> None:
    """Print how long frames of each kind take to open."""
    seconds: dict[str, list[float]] = {kind: [] for kind in numbers}
    most, pick = 0, random.Random(0)
    for turn in range(-5, opened):  # the first are not counted: graphs compile
        for kind, among in numbers.items():
            ([one], containers) = await open_frames(store, codec, runtime, [pick.choice(among)])
            most = max(most, containers)
            if turn >= 0:
                seconds[kind].append(one)
    print(f"\n| {opened} each | p50, ms | p95, ms | p50 over intra's | p95 over intra's |")
    print("|---|---|---|---|---|")
    base = np.percentile(seconds["intra"], (50, 95))
    for kind, each in seconds.items():
        at = np.percentile(each, (50, 95))
        ratios = at / base
        print(f"| {kind} | {1000 * at[0]:.1f} | {1000 * at[1]:.1f} | ", end="")
        print(f"{ratios[0]:.2f} | {ratios[1]:.2f} |")
    print(f"\ncontainers read for one frame, at most: {most}")


async def _is_there(store: Store, number: int) -> bool:
    try:
        await store.get_container(FrameId(CAMERA, EPOCH, number))
    except FrameGoneError:
        return False
    return True


def _named(point: OperatingPoint) -> str:
    return f"({point.level}, {point.quality:g})"


def open_camera(video: Path, fps: float) -> Camera:
    """A video as a camera of so many frames a second would have taken it."""
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    points = build_operating_points(codec.levels, codec.manifest.qualities, codec.profile)
    key = build_frontier(points).points[-1]
    inter = build_frontier(inter_points(points), _BYTE_PRICE).points[-1]
    images: list[NDArray[np.uint8]] = []
    for picture in open_source(str(video), 1.0).pictures():
        assert picture.due_seconds is not None, "a file's pictures have times"
        if picture.due_seconds >= len(images) / fps - 1e-3:
            images.append(picture.image)
    return Camera(images, fps, key, inter)


async def _run(args: argparse.Namespace, data: Path) -> None:
    server = EmbeddedRedis(data, max_memory_bytes=2**31)
    server.start()
    client = redis_client(server.url)
    try:
        await measure(client, server.url, open_camera(args.video, args.fps), args)
    finally:
        await client.aclose()
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the camera")
    parser.add_argument("--opened", type=int, default=200, help="frames of each kind")
    with tempfile.TemporaryDirectory(prefix="slimwire-bench-") as data:
        asyncio.run(_run(parser.parse_args(), Path(data)))


if __name__ == "__main__":
    main()
