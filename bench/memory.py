"""The memory of each role under the worst that it accepts, beside its limit in the manifests.

Four frames of 40 bytes that declare 16 megapixels; then the sizes that graphs are compiled for;
then pictures of the most pixels, from four cameras; then all of them looked at, at once. Each role
is a real process; `--cgroup` puts it into a memory cgroup (version 1) of its limit, to be killed.

    PYTHONPATH=tests python -m bench.memory --cameras 300 --cgroup

measures ingest alone: so many cameras that each send the largest container at the same moment,
three times.
"""

import argparse
import asyncio
import contextlib
import csv
import dataclasses
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import grpc.aio
import numpy as np
from redis.asyncio import Redis

from bench.cloud_setup import (
    CAMERAS,
    ROOT,
    Material,
    await_bound,
    cloud_process,
    load_material,
    send_stream,
)
from slimcloud.wall_clock import unix_us
from slimcodec.container import pack_container, parse_container
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimops.storage.embedded_redis import EmbeddedRedis
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

LIMITS_MB = {"all": 2048, "ingest": 1024, "detect": 1536, "review": 1024}  # as the manifests say
SMALL = ((480, 640), (576, 768), (640, 800), (720, 1280))
LARGE = ((2048, 2048), (1024, 4096), (4096, 1024), (2048, 2048))
LEVEL, QUALITY = 3, 0
REST_SECONDS = 2.0
LOOK_SECONDS = 300.0
MOST_BYTES = 2**20  # of a container, as the cloud takes it by default
FRAMES_OF_CAMERA = 3


def main() -> None:
    """Print a CSV of megabytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", action="append", choices=LIMITS_MB, help="default: each")
    parser.add_argument("--precision", action="append", choices=("bf16", "f32"))
    parser.add_argument("--cgroup", action="store_true", help="within the role's limit; needs root")
    parser.add_argument("--cameras", type=int, help="of ingest, that send at once")
    arguments = parser.parse_args()
    out = csv.writer(sys.stdout)
    if arguments.cameras:
        limit = LIMITS_MB["ingest"]
        out.writerow(["cameras", "limit", "connected", "peak", "after"])
        with _cgroup(limit if arguments.cgroup else None) as prefix:
            row = asyncio.run(_measure_cameras(arguments.cameras, prefix))
        out.writerow([arguments.cameras, limit, *row])
        return
    material = load_material(1)
    out.writerow(["role", "precision", "limit", "ready", "hostile", "small", "peak", "after"])
    for precision in arguments.precision or ("f32",):
        for role in arguments.role or LIMITS_MB:
            limit = LIMITS_MB[role]
            with _cgroup(limit if arguments.cgroup else None) as prefix:
                row = asyncio.run(_measure(role, precision, material, prefix))
            out.writerow([role, precision, limit, *row])
            sys.stdout.flush()


async def _measure(
    role: str, precision: str, material: Material, prefix: tuple[str, ...]
) -> list[int]:
    hostile, small, large = await asyncio.to_thread(_containers, material)
    settings = {"CLOUD_PRECISION": precision, "CLOUD_HTTP_PORT": "0", "CLOUD_DETECTOR_THREADS": "1"}
    others = [] if role == "all" else [r for r in ("ingest", "detect", "review") if r != role]
    with contextlib.ExitStack() as stack:
        server = EmbeddedRedis(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        server.start()
        stack.callback(server.stop)
        states = {
            name: stack.enter_context(
                cloud_process(name, server.url, settings, prefix if name == role else ())
            )
            for name in (role, *others)
        }
        bound = {name: await await_bound(state) for name, state in states.items()}
        pid = bound[role]["pid"]
        grpc, http = (
            str(next(addresses[kind] for addresses in bound.values() if addresses.get(kind)))
            for kind in ("grpc", "http")
        )
        figures = [_megabytes(pid, "VmRSS")]
        epochs = iter(range(1, 100))

        async def send(*containers: bytes) -> str:
            epoch, what = next(epochs), dataclasses.replace(material, containers=list(containers))
            await send_stream(grpc, what, len(containers), epoch)
            return f"{http}/api/v1/frames/camera-{epoch % CAMERAS}:{epoch:016x}:1/image"

        async with Redis.from_url(server.url) as redis:
            for _ in range(4):
                with contextlib.suppress(RuntimeError):  # refused
                    await send(hostile)
            await _detected(redis)
            figures.append(_megabytes(pid, "VmHWM"))
            looks = [await send(container) for container in small]
            await _detected(redis)
            await asyncio.gather(*(asyncio.to_thread(_look, url) for url in looks))
            figures.append(_megabytes(pid, "VmHWM"))
            looks = await asyncio.gather(*(send(container) for container in large))
            watching = [asyncio.to_thread(_look, url) for url in looks]
            await asyncio.gather(_detected(redis), *watching)
        figures.append(_megabytes(pid, "VmHWM"))
        await asyncio.sleep(REST_SECONDS)
        figures.append(_megabytes(pid, "VmRSS"))
    return figures


async def _measure_cameras(count: int, prefix: tuple[str, ...]) -> list[int]:
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models"))
    container = _largest(codec)
    go = asyncio.Event()
    with contextlib.ExitStack() as stack:
        server = EmbeddedRedis(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        server.start()
        stack.callback(server.stop)
        settings = {"CLOUD_HTTP_PORT": "0", "CLOUD_MAX_CAMERAS": str(count)}
        with cloud_process("ingest", server.url, settings, prefix) as state:
            bound = await await_bound(state)
            connected = asyncio.Semaphore(0)
            cameras = [
                asyncio.create_task(
                    _send_largest(
                        str(bound["grpc"]), f"camera-{n}", codec, container, connected, go
                    )
                )
                for n in range(count)
            ]
            for _ in cameras:
                await connected.acquire()
            figures = [_megabytes(bound["pid"], "VmRSS")]
            go.set()
            await asyncio.gather(*cameras)
            figures.append(_megabytes(bound["pid"], "VmHWM"))
            await asyncio.sleep(REST_SECONDS)
            figures.append(_megabytes(bound["pid"], "VmRSS"))
    return figures


def _largest(codec: CodecArtifact) -> bytes:
    """A container of nearly `MOST_BYTES` that ingest takes, whatever a decoder makes of it."""
    encoder = Encoder(codec, OpenVinoRuntime(1, "f32"))
    one = parse_container(encoder.encode(np.zeros((32, 32, 3), np.uint8), 0, 0).bitstream)
    data = b"\0" + np.random.default_rng(0).bytes(MOST_BYTES - 2**10)
    section = dataclasses.replace(one.sections[0], symbol_count=32 * 128**2, data=data)
    return pack_container(dataclasses.replace(one, image_hw=(2048, 2048), sections=(section,)))


async def _send_largest(
    address: str,
    camera_id: str,
    codec: CodecArtifact,
    container: bytes,
    connected: asyncio.Semaphore,
    go: asyncio.Event,
) -> None:
    """Send one frame after another, each when the one before is answered."""
    own = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own, as cameras have
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        uplink = ingest_pb2_grpc.IngestServiceStub(channel).StreamFrames()  # type: ignore[call-arg]  # written to by hand
        hello = pb.Hello(
            camera_id=camera_id,
            epoch=1,
            model_name=DEFAULT_MODEL,
            model_fingerprint=codec.fingerprint,
        )
        await uplink.write(pb.StreamFramesRequest(hello=hello))
        await uplink.read()
        connected.release()
        await go.wait()
        for sequence in range(1, FRAMES_OF_CAMERA + 1):
            frame = pb.Frame(
                sequence=sequence,
                capture_time_unix_us=unix_us(),
                container=container,
                container_crc32c=google_crc32c.value(container),
            )
            await uplink.write(pb.StreamFramesRequest(frame=frame))
            await uplink.read()
        uplink.cancel()


def _containers(material: Material) -> tuple[bytes, list[bytes], list[bytes]]:
    encoder = Encoder(material.codec, OpenVinoRuntime(1, "f32"))
    noise = np.random.default_rng(0).integers(0, 256, (4096, 4096, 3), np.uint8)

    def encoded(image_hw: tuple[int, int]) -> bytes:
        return encoder.encode(noise[: image_hw[0], : image_hw[1]], LEVEL, QUALITY).bitstream

    one = parse_container(encoder.encode(noise[:32, :32], 0, 0).bitstream)
    section = dataclasses.replace(one.sections[0], symbol_count=32 * 256**2, data=b"\0")
    hostile = dataclasses.replace(one, image_hw=(4096, 4096), sections=(section,))
    return pack_container(hostile), [encoded(hw) for hw in SMALL], [encoded(hw) for hw in LARGE]


async def _detected(redis: Redis) -> None:
    """Return when nothing is left on the work queue."""
    while await redis.xlen("slim:work"):
        await asyncio.sleep(0.1)


def _look(url: str) -> None:
    """Fetch a picture; a busy pool says when to come again."""
    until = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < until:
        try:
            request = urllib.request.Request(url, headers={"Accept": "image/png"})
            urllib.request.urlopen(request, timeout=LOOK_SECONDS).read()
        except urllib.error.HTTPError as exc:
            if exc.code != 503:
                raise
            time.sleep(1)
        else:
            return


def _megabytes(pid: object, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) // 1024


@contextlib.contextmanager
def _cgroup(limit_mb: int | None) -> Iterator[tuple[str, ...]]:
    """Give the words before a command that put it into a memory cgroup of this limit."""
    if limit_mb is None:
        yield ()
        return
    group = Path(f"/sys/fs/cgroup/memory/slimwire-bench-{os.getpid()}")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(f"{limit_mb}M")
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    finally:
        group.rmdir()


if __name__ == "__main__":
    main()
