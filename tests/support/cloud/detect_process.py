"""A detect worker as a process of its own, with an engine that takes time but no model.

    python -m support.cloud.detect_process REDIS_URL SETTINGS_JSON SECONDS_PER_FRAME

It says `ready` on stdout. What it does with a frame is in its container: `poison` kills the
process, `stall` never ends and is said on stdout, anything else is detected. The result names the
process as its detector.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence

from slimcloud.detect.engine import EngineJob, EngineResult
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimops.metrics import Metrics
from slimops.storage.redis_connection import redis_client


class TimedEngine:
    codec_label = "toy/1"
    min_score = 0.25

    def __init__(self, seconds_per_frame: float) -> None:
        self.detector_label = f"process/{os.getpid()}"
        self._seconds = seconds_per_frame

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw

    def kept(self, frame_id: FrameId) -> None:
        return None

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        containers = [job.base for job in jobs]
        if b"poison" in containers:
            os.kill(os.getpid(), signal.SIGKILL)
        if b"stall" in containers:
            _say("stalled")
            await asyncio.Event().wait()
        await asyncio.sleep(self._seconds * len(jobs))
        return [EngineResult((), None, self._seconds) for _ in jobs]


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(redis_url: str, overrides: str, seconds_per_frame: str) -> None:
    settings = CloudSettings.model_validate(json.loads(overrides))
    store = Store(redis_client(redis_url))
    engine = TimedEngine(float(seconds_per_frame))
    worker = DetectWorker(store, engine, settings, DetectMetrics(Metrics("cloud")))
    _say("ready")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        tasks.create_task(worker.serve_batches())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
