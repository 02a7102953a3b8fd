"""One edge process: wires the stages, runs them, stops them.

    camera thread ─► pipeline ─► encoder thread ─► uplink ═ gRPC ═► cloud
                        ▲            refetcher ◄──────┘│
                        └── controller ◄── feedback ◄──┘

To stop, in this order: the camera, then what is on its way (for a bounded time), then the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from random import Random

from slimcodec.artifact import CodecArtifact, find_model, load_codec_artifact
from slimcodec.encode import Encoder
from slimcodec.runtime import OpenVinoRuntime
from slimedge.backoff import FullJitter
from slimedge.camera import Camera, CameraListener
from slimedge.change import Change
from slimedge.controller import Controller
from slimedge.encode import EncodeWorker, FrameEncoder, guess_encode_seconds
from slimedge.errors import CameraError
from slimedge.event import CameraChanged, EdgeObserver, Observers
from slimedge.feedback import Feedback
from slimedge.health import Health, HealthServer
from slimedge.jpeg import JpegMeter
from slimedge.ledger import Ledger
from slimedge.metrics import MetricsObserver
from slimedge.pipeline import Pipeline
from slimedge.profile import OperatingPoint, build_operating_points, restrict_points
from slimedge.refetch import Refetcher
from slimedge.ring import FrameRing
from slimedge.settings import EdgeSettings
from slimedge.source import FrameSource, open_source
from slimedge.uplink import Uplink
from slimedge.wire import make_hello
from slimops.metrics import Metrics

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
        edge = _Edge(settings, artifact, Encoder(artifact, runtime), observer)
        await edge.run(source, stop)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _load_artifact(settings: EdgeSettings) -> CodecArtifact:
    return load_codec_artifact(find_model("codec", settings.model, settings.models_root))


class _Edge:
    """The stages of one edge, wired."""

    def __init__(
        self,
        settings: EdgeSettings,
        artifact: CodecArtifact,
        encoder: FrameEncoder,
        observer: EdgeObserver | None,
    ) -> None:
        points = build_operating_points(
            artifact.levels, artifact.manifest.qualities, artifact.profile
        )
        self._points = restrict_points(points, settings.level, settings.quality, settings.max_level)
        self._settings = settings
        self._health = Health()
        self._ledger = Ledger()
        self._controller = Controller(
            self._points,
            {level.level: guess_encode_seconds(level.kmac_per_pixel) for level in artifact.levels},
            deadline_seconds=settings.deadline_seconds,
            frame_seconds=1 / settings.max_fps,
        )
        self._metrics = Metrics("edge")
        counting = MetricsObserver(
            self._metrics,
            lambda: float(self._ledger.in_flight_bytes),
            lambda: self._controller.rate.mean,
        )
        given = () if observer is None else (observer,)
        self._observer = Observers(self._health, counting, *given)
        change = Change()
        self._worker = EncodeWorker(encoder, settings.max_edge)
        self._jpeg = JpegMeter(self._observer) if settings.measure_jpeg else None
        ring = FrameRing(settings.ring_frames, settings.ring_bytes)
        self._refetcher = Refetcher(ring, self._worker, self._ledger, self._observer, change)
        self._uplink = Uplink(
            settings.cloud_address,
            make_hello(
                settings.camera_id,
                time.time_ns() // 1000,  # the epoch: a later start has a larger one
                artifact.fingerprint,
                artifact.label,
                settings.deadline_ms,
            ),
            self._ledger,
            Feedback(
                self._controller, self._observer, self._jpeg, self._refetcher.ask, time.monotonic
            ),
            change,
            deadline_seconds=settings.deadline_seconds,
            expire_seconds=settings.expire_seconds,
            backoff=self._make_backoff(),
            clock=time.monotonic,
        )
        self._pipeline = Pipeline(
            settings,
            self._worker,
            self._controller,
            self._ledger,
            self._uplink,
            ring,
            self._jpeg,
            self._observer,
            change,
            time.monotonic,
        )
        self._camera_failure: CameraError | None = None

    async def run(self, source: FrameSource, stop: asyncio.Event) -> None:
        """Run the stages; see `run_edge`."""
        ended = asyncio.Event()
        camera = Camera(
            source,
            self._make_listener(ended),
            loop=self._settings.loop,
            backoff=self._make_backoff(),
        )
        pipeline = asyncio.create_task(self._pipeline.run(self._warm_up_points()))
        others = [
            asyncio.create_task(self._uplink.run()),
            asyncio.create_task(self._refetcher.run(self._uplink)),
            asyncio.create_task(self._health.beat()),
        ]
        waits = [asyncio.create_task(ended.wait()), asyncio.create_task(stop.wait())]
        server = self._serve_health()
        camera.start()
        try:
            done, _ = await asyncio.wait(
                [pipeline, *others, *waits], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()  # a stage that failed ends the edge with its error
            camera.stop()
            self._pipeline.end()
            seconds = self._settings.drain_seconds
            await self._finish(
                pipeline, others, min(seconds, _STOP_DRAIN_SECONDS) if stop.is_set() else seconds
            )
        finally:
            camera.stop()
            tasks = [pipeline, *others, *waits]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._pipeline.give_up()
            self._worker.close()
            if self._jpeg is not None:
                await self._jpeg.finish()
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
            await self._pipeline.drain()

        last = asyncio.create_task(work())
        try:
            done, _ = await asyncio.wait(
                [last, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)

    def _make_listener(self, ended: asyncio.Event) -> CameraListener:
        loop = asyncio.get_running_loop()

        def on_loop(call: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(call)

        def end(failure: CameraError | None) -> None:
            self._camera_failure = failure
            self._pipeline.end()
            ended.set()

        return CameraListener(
            deliver=lambda frame: on_loop(lambda: self._pipeline.deliver(frame)),
            report=lambda state, detail: on_loop(
                lambda: self._observer.notify(CameraChanged(state, detail))
            ),
            end=lambda failure: on_loop(lambda: end(failure)),
        )

    def _make_backoff(self) -> FullJitter:
        return FullJitter(
            self._settings.reconnect_min_seconds, self._settings.reconnect_max_seconds, Random()
        )

    def _warm_up_points(self) -> list[OperatingPoint]:
        """The middle quality of every level that may be chosen."""
        chosen = []
        for level in sorted({point.level for point in self._points}):
            qualities = [point for point in self._points if point.level == level]
            chosen.append(qualities[len(qualities) // 2])
        return chosen

    def _serve_health(self) -> HealthServer | None:
        if self._settings.http_port is None:
            return None
        return HealthServer(
            self._health,
            self._metrics.exposition,
            self._settings.http_host,
            self._settings.http_port,
        )
