"""One edge process: runs the stages and stops them.

    camera thread ─► pipeline ─► encoder thread ─► uplink ═ gRPC ═► cloud
                        ▲            refetcher ◄──────┘│▲
                        └── controller ◄── feedback ◄──┘└─ backfill ◄─ spool ◄─ what must wait

To stop, in this order: the camera, then what is on its way (for a bounded time), then the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from slimcodec.encode import Encoder
from slimcodec.graph.runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, load_codec_artifact
from slimcodec.model.find import find_model
from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraListener
from slimedge.capture.source import FrameSource, open_source
from slimedge.capture.wall_clock import WallClock
from slimedge.errors import CameraError
from slimedge.event import CameraChanged, ClockStepped, EdgeObserver
from slimedge.settings import EdgeSettings
from slimedge.stages import Stages, build_stages
from slimedge.watch.health import HealthServer

logger = logging.getLogger(__name__)

_STOP_DRAIN_SECONDS = 1.5  # for results on their way when the edge is told to stop
_CAMERA_JOIN_SECONDS = 1.0  # a camera that hangs in the operating system is left behind


async def run_edge(
    settings: EdgeSettings,
    observer: EdgeObserver | None = None,
    *,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> None:
    """Run one edge until its source ends, `stop` is set, or it is cancelled.

    Args:
        settings: Of this camera.
        observer: Is told every event, on this event loop.
        stop: Set it to end soon and in order.
        handle_signals: Stop on SIGINT and SIGTERM (main thread only).

    Raises:
        CameraError: the source cannot be used.
        ModelError: the codec model is missing or altered.
        ModelMismatchError: the cloud reads another model.
        RefusedError: the cloud refuses this camera for good.
    """
    stop = asyncio.Event() if stop is None else stop
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM) if handle_signals else ()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        source = open_source(settings.source, settings.picture_fps)
        artifact = await asyncio.to_thread(_load_artifact, settings)
        runtime = await asyncio.to_thread(OpenVinoRuntime, settings.encoder_threads)
        stages = build_stages(settings, artifact, Encoder(artifact, runtime), observer)
        await _Edge(settings, stages).run(source, stop)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _load_artifact(settings: EdgeSettings) -> CodecArtifact:
    return load_codec_artifact(find_model("codec", settings.model, settings.models_root))


class _Edge:
    """Runs the stages around one camera."""

    def __init__(self, settings: EdgeSettings, stages: Stages) -> None:
        self._settings = settings
        self._stages = stages
        self._camera_failure: CameraError | None = None

    async def run(self, source: FrameSource, stop: asyncio.Event) -> None:
        """Run until the source ends or `stop` is set; see `run_edge`."""
        stages = self._stages
        ended = asyncio.Event()
        camera = self._make_camera(source, ended)
        pipeline = asyncio.create_task(stages.pipeline.run(stages.warm_up_points))
        others = [
            asyncio.create_task(stages.uplink.run()),
            asyncio.create_task(stages.refetcher.run(stages.uplink)),
            asyncio.create_task(stages.spool.run()),
            asyncio.create_task(stages.backfill.run()),
            asyncio.create_task(stages.health.beat()),
        ]
        waits = [asyncio.create_task(ended.wait()), asyncio.create_task(stop.wait())]
        server = self._serve_health()
        camera.start()
        try:
            await _first_of([pipeline, *others, *waits], timeout_seconds=None)
            camera.stop()
            stages.pipeline.end()
            seconds = self._settings.drain_seconds
            if stop.is_set():
                seconds = min(seconds, _STOP_DRAIN_SECONDS)
            await self._finish(pipeline, others, seconds)
        finally:
            camera.stop()
            await _cancel([pipeline, *others, *waits])
            stages.pipeline.give_up()
            stages.gap_watch.finish()
            await stages.spool.close()
            stages.worker.close()
            if server is not None:
                await asyncio.to_thread(server.close)
            if not await asyncio.to_thread(camera.join, _CAMERA_JOIN_SECONDS):
                logger.warning("camera thread left behind", extra={"reason": "it hangs in a read"})
        if self._camera_failure is not None:
            raise self._camera_failure

    async def _finish(
        self, pipeline: asyncio.Task[None], others: list[asyncio.Task[None]], seconds: float
    ) -> None:
        """Deal with the last frames and wait for the last results, for so long at most."""

        async def work() -> None:
            await pipeline
            await self._stages.pipeline.drain()

        last = asyncio.create_task(work())
        try:
            await _first_of([last, *others], timeout_seconds=seconds)
        finally:
            await _cancel([last])

    def _make_camera(self, source: FrameSource, ended: asyncio.Event) -> Camera:
        stages, settings = self._stages, self._settings
        loop = asyncio.get_running_loop()

        def on_loop(call: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(call)

        def end(failure: CameraError | None) -> None:
            self._camera_failure = failure
            ended.set()

        def step(old: float, new: float) -> None:
            stages.spool.shift_ages(new - old)
            stages.observer.notify(ClockStepped(old, new))

        listener = CameraListener(
            deliver=lambda frame: on_loop(lambda: stages.pipeline.deliver(frame)),
            report=lambda state, detail: on_loop(
                lambda: stages.observer.notify(CameraChanged(state, detail))
            ),
            end=lambda failure: on_loop(lambda: end(failure)),
            step=lambda old, new: on_loop(lambda: step(old, new)),
        )
        backoff = FullJitter(
            settings.reconnect_min_seconds, settings.reconnect_max_seconds, Random()
        )
        return Camera(source, listener, loop=settings.loop, backoff=backoff, clock=WallClock())

    def _serve_health(self) -> HealthServer | None:
        settings = self._settings
        if settings.http_port is None:
            return None
        stages = self._stages
        return HealthServer(
            stages.health, stages.metrics.exposition, settings.http_host, settings.http_port
        )


async def _first_of(tasks: Sequence[asyncio.Task[Any]], timeout_seconds: float | None) -> None:
    """Wait for the first task to end; if it failed, raise its error."""
    done, _ = await asyncio.wait(
        tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
    )
    for task in done:
        task.result()


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
