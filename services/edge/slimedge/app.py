"""One edge process: runs the stages and stops them.

    camera thread ─► pipeline ─► encoder thread ─► uplink ═ gRPC ═► cloud
                        ▲            refetcher ◄──────┘│▲
                        └── controller ◄── feedback ◄──┘└─ backfill ◄─ spool ◄─ what must wait

To stop (`slimops.lifecycle`): the camera, then what is on its way for a bounded time, then the
stream; what the cloud does not have by then goes to the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random

from slimcodec.encode import Encoder
from slimcodec.graph.runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, load_codec_artifact
from slimcodec.model.find import find_model
from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraEnded, CameraMessage
from slimedge.capture.frame import CapturedFrame
from slimedge.capture.source import FrameSource, open_source
from slimedge.capture.wall_clock import WallClock
from slimedge.errors import CameraError, EdgeError
from slimedge.event import CameraChanged, ClockStepped, EdgeObserver
from slimedge.settings import EdgeSettings
from slimedge.stages import Stages, build_stages
from slimedge.watch.health import HealthServer
from slimops.lifecycle import Lifecycle, Phase

logger = logging.getLogger(__name__)

_STOP_DRAIN_SECONDS = 1.5  # for results on their way when the edge is told to stop
_CAMERA_JOIN_SECONDS = 1.0  # a camera that hangs in the operating system is left behind
_SPOOL_SECONDS = 60.0  # for a slow disk, to keep what is handed to it at the end


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
    life = Lifecycle(
        deadline_seconds=min(settings.drain_seconds, _STOP_DRAIN_SECONDS),
        handle_signals=handle_signals,
        expected=(EdgeError,),
    )
    async with life:
        source = open_source(settings.source, settings.picture_fps)
        artifact = await asyncio.to_thread(_load_artifact, settings)
        runtime = await asyncio.to_thread(OpenVinoRuntime, settings.encoder_threads)
        stages = build_stages(settings, artifact, Encoder(artifact, runtime), observer)
        _Edge(settings, stages, life).start(source)
        if stop is not None:
            life.spawn(_stop_when(stop, life), "stop")
        try:
            await life.wait()
        except asyncio.CancelledError:
            life.end(0.0)
            raise


def _load_artifact(settings: EdgeSettings) -> CodecArtifact:
    return load_codec_artifact(find_model("codec", settings.model, settings.models_root))


async def _stop_when(stop: asyncio.Event, life: Lifecycle) -> None:
    await stop.wait()
    life.request_stop()


class _Edge:
    """The stages around one camera, run by a `Lifecycle`."""

    def __init__(self, settings: EdgeSettings, stages: Stages, life: Lifecycle) -> None:
        self._settings = settings
        self._stages = stages
        self._life = life
        self._loop = asyncio.get_running_loop()
        self._camera_ended: asyncio.Future[CameraError | None] = self._loop.create_future()

    def start(self, source: FrameSource) -> None:
        """Start everything, and say how it stops."""
        settings, stages, life = self._settings, self._stages, self._life
        camera = Camera(
            source,
            self._post,
            loop=settings.loop,
            backoff=FullJitter(
                settings.reconnect_min_seconds, settings.reconnect_max_seconds, Random()
            ),
            clock=WallClock(),
        )
        pipeline = life.spawn(stages.pipeline.run(stages.warm_up_points), "pipeline")
        others = [
            life.spawn(stages.uplink.run(), "uplink"),
            life.spawn(stages.refetcher.run(stages.uplink), "refetcher"),
            life.spawn(stages.spool.run(), "spool"),
            life.spawn(stages.backfill.run(), "backfill"),
            life.spawn(stages.health.beat(), "heartbeat"),
        ]
        life.spawn(self._end_with_the_camera(), "camera")

        async def refuse() -> None:
            camera.stop()
            stages.pipeline.end()

        async def drain() -> None:
            """The last frames and their results; none will come once another part has failed."""
            results = asyncio.create_task(self._finish(pipeline))
            try:
                await asyncio.wait([results, *others], return_when=asyncio.FIRST_COMPLETED)
            finally:
                results.cancel()

        async def join_camera() -> None:
            if not await asyncio.to_thread(camera.join, _CAMERA_JOIN_SECONDS):
                logger.warning("camera thread left behind", extra={"reason": "it hangs in a read"})

        async def close_encoder() -> None:
            stages.worker.close()

        async def keep_the_rest() -> None:
            stages.pipeline.give_up()
            stages.gap_watch.finish()
            await stages.spool.close()

        life.on_stop(Phase.REFUSE, "camera", refuse)
        life.on_stop(Phase.DRAIN, "results", drain)
        life.on_stop(Phase.CLOSE, "camera", join_camera)  # closed in reverse, so this is the last
        self._serve_health()
        life.on_stop(Phase.CLOSE, "encoder", close_encoder)
        life.on_stop(Phase.CLOSE, "spool", keep_the_rest, seconds=_SPOOL_SECONDS)
        camera.start()

    async def _finish(self, pipeline: asyncio.Task[None]) -> None:
        await asyncio.wait([pipeline])
        await self._stages.pipeline.drain()

    def _post(self, message: CameraMessage) -> None:
        """Take a message on the camera's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: CameraMessage) -> None:
        """Take a message of the camera on the event loop."""
        match message:
            case CapturedFrame():
                self._stages.pipeline.deliver(message)
            case CameraChanged():
                self._stages.observer.notify(message)
            case ClockStepped():
                self._stages.spool.shift_ages(message.to_unix - message.from_unix)
                self._stages.observer.notify(message)
            case CameraEnded() if not self._camera_ended.done():
                self._camera_ended.set_result(message.failure)

    async def _end_with_the_camera(self) -> None:
        failure = await self._camera_ended
        self._life.end(self._settings.drain_seconds)
        if failure is not None:
            raise failure

    def _serve_health(self) -> None:
        settings, stages = self._settings, self._stages
        if settings.http_port is None:
            return
        server = HealthServer(
            stages.health, stages.metrics.exposition, settings.http_host, settings.http_port
        )

        async def close_server() -> None:
            await asyncio.to_thread(server.close)

        self._life.on_stop(Phase.CLOSE, "health", close_server)
