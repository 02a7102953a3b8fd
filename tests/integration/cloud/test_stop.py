"""SIGTERM under load: the process ends in time, and what it had acked as PERSISTED is detected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from slimcloud.frame_id import FrameId
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.whole_cloud import EPOCH, StreamEndedError, ToyCamera, ToyModels

NUM_CAMERAS = 2
FRAMES_UNDER_WAY = 40  # acked as PERSISTED when the signal comes; detection is slower than that


@asynccontextmanager
async def _cloud_process(
    models: ToyModels, redis_url: str, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A `slimwire cloud` on a Redis of ours, and its address for cameras."""
    state = folder / "state.json"
    environment = os.environ | {
        "CLOUD_REDIS_URL": redis_url,
        "CLOUD_MODEL": "toy",
        "CLOUD_MODELS_ROOT": str(models.root),
        "CLOUD_GRPC_PORT": "0",
        "CLOUD_HTTP_PORT": "0",
        "CLOUD_DETECTOR_THREADS": "1",
        "CLOUD_MAX_BATCH_SIZE": "1",
        "CLOUD_RECLAIM_IDLE_SECONDS": "0.2",
        "CLOUD_STATE_FILE": str(state),
        "CLOUD_LOG_LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slimcli", "cloud", env=environment
    )
    try:
        while not state.exists():
            assert process.returncode is None
            await asyncio.sleep(0.05)
        yield process, json.loads(state.read_text())["grpc"]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _stream(
    address: str, models: ToyModels, name: str, acked: set[FrameId], container: bytes
) -> None:
    """Send frames until the cloud ends the stream, and note what it persisted."""
    async with ToyCamera(address, models) as camera:
        await camera.hello(name)

        async def send() -> None:
            for sequence in range(1, 10_000):
                await camera.send(sequence, container)
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(send())
        try:
            while True:
                ack = (await camera.hear()).ack
                if ack.stage == pb.STAGE_PERSISTED:
                    acked.add(FrameId(name, EPOCH, ack.sequence))
        except (StreamEndedError, EOFError):
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.slow
async def test_sigterm_under_load_loses_nothing_that_was_acked(
    redis_url: str, tmp_path: Path
) -> None:
    models = ToyModels(tmp_path / "models")
    client = redis_client(redis_url)
    store = Store(client)
    acked: set[FrameId] = set()
    container = models.encode(1)

    (tmp_path / "first").mkdir()
    async with _cloud_process(models, redis_url, tmp_path / "first") as (process, address):
        cameras = [
            asyncio.create_task(_stream(address, models, f"cam-{i}", acked, container))
            for i in range(NUM_CAMERAS)
        ]
        while len(acked) < FRAMES_UNDER_WAY:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        code = await process.wait()
        await asyncio.gather(*cameras)

    assert code == 0
    assert len(acked) >= FRAMES_UNDER_WAY

    (tmp_path / "second").mkdir()
    async with _cloud_process(models, redis_url, tmp_path / "second"):
        for frame_id in acked:
            while (await store.get_frame(frame_id)).state is not FrameState.DETECTED:
                await asyncio.sleep(0.02)  # the test's time limit is the end
    await client.aclose()
