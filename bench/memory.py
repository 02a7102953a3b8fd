"""The memory of each role under the worst that it accepts, beside its limit in the manifests.

Four frames of 40 bytes that declare 16 megapixels; then the sizes that graphs are compiled for;
then pictures of the most pixels, from four cameras; then all of them looked at, at once. Each role
is a real process; `--cgroup` puts it into a memory cgroup (version 1) of its limit, to be killed.
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

import numpy as np
from redis.asyncio import Redis

from bench.cloud_setup import (
    CAMERAS,
    Material,
    await_bound,
    cloud_process,
    load_material,
    send_stream,
)
from slimcodec.container import pack_container, parse_container
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimops.storage.embedded_redis import EmbeddedRedis

LIMITS_MB = {"all": 2048, "ingest": 1024, "detect": 1536, "review": 1024}  # as the manifests say
SMALL = ((480, 640), (576, 768), (640, 800), (720, 1280))
LARGE = ((2048, 2048), (1024, 4096), (4096, 1024), (2048, 2048))
LEVEL, QUALITY = 3, 0
REST_SECONDS = 2.0
LOOK_SECONDS = 300.0


def main() -> None:
    """Print a CSV of megabytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", action="append", choices=LIMITS_MB, help="default: each")
    parser.add_argument("--precision", action="append", choices=("bf16", "f32"))
    parser.add_argument("--cgroup", action="store_true", help="within the role's limit; needs root")
    arguments = parser.parse_args()
    material = load_material(1)
    out = csv.writer(sys.stdout)
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
