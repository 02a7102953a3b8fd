"""One edge process, from settings to its end: of one camera, or of several that share its encoders.

Each camera is an `Edge` of its own, with its own stream, spool and controller. Of several, one that
fails is logged and tried again while another works, and so is every other error that would end the
process of one; only when none works any more does the process end.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from slimcodec.errors import ModelError
from slimcontrol.errors import ControlError
from slimedge.backoff import FullJitter
from slimedge.capture.recording import as_recording
from slimedge.capture.source import open_source
from slimedge.edge import Edge
from slimedge.encode.shared import SharedEncoding
from slimedge.errors import CameraError, EdgeError, UndeliveredError
from slimedge.event import EdgeObserver
from slimedge.memory.bookmark import Bookmark
from slimedge.settings import EdgeSettings
from slimedge.watch.health import Health, ProcessHealth, serve_health
from slimops.lifecycle import Lifecycle
from slimops.logs import LOG_CAMERA
from slimops.metrics import Metrics, expose_by

logger = logging.getLogger(__name__)

_STOP_DRAIN_SECONDS = 1.5  # for results on their way when the edge is told to stop
_FIRST_RETRY_SECONDS = 10.0  # bound of the random wait before a failed camera is tried again
_LAST_RETRY_SECONDS = 300.0


async def run_edge(
    settings: EdgeSettings,
    observer: EdgeObserver | None = None,
    *,
    recording: Bookmark | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> str:
    """Run one camera until its source ends, `stop` is set, or it is cancelled.

    Args:
        settings: Of this camera.
        observer: Is told every event, on this event loop.
        recording: The source is one: every frame of it is sent from there on, for the record.
        stop: Set it to end soon and in order.
        handle_signals: Stop on SIGINT and SIGTERM (main thread only).

    Returns:
        What came of the pictures, in words.

    Raises:
        CameraError: the source cannot be used.
        ControlError: the settings ask for a level or quality that the model does not have.
        ModelError: the codec model is missing or altered.
        ModelMismatchError: the cloud reads another model.
        UndeliveredError: the source has ended, and the cloud got none of its pictures; or not all
            of a recording's.
        RefusedError: the cloud refuses this camera for good.
        StoppedError: a recording was stopped before its end.
    """
    name, health, metrics = settings.camera_id, Health(), Metrics("edge")
    async with _shared(settings, health, {name: metrics}) as encoding:
        life = _lifecycle(settings, handle_signals=handle_signals)
        return await _run(settings, encoding, health, metrics, life, observer, recording, stop)


async def run_cameras(cameras: Sequence[EdgeSettings], *, handle_signals: bool = False) -> None:
    """Run several cameras until all have ended, a signal comes, or it is cancelled.

    Args:
        cameras: Settings of each; what is one for all of them is read off the first.
        handle_signals: Stop on SIGINT and SIGTERM (main thread only).

    Raises:
        Exception: as `run_edge`, of the first camera, where all have failed.
    """
    kept = _Cameras(cameras)
    loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    async with _shared(cameras[0], ProcessHealth(kept.health), kept.metrics) as encoding:
        for number in signals if handle_signals else ():
            loop.add_signal_handler(number, kept.request_stop)
        try:
            async with asyncio.TaskGroup() as group:
                for settings in cameras:
                    group.create_task(kept.keep(settings, encoding))
        finally:
            for number in signals if handle_signals else ():
                loop.remove_signal_handler(number)
    if all(health.failure for health in kept.health.values()):
        raise kept.failures[cameras[0].camera_id]


class _Cameras:
    """Cameras that run beside each other, by id."""

    def __init__(self, cameras: Sequence[EdgeSettings]) -> None:
        self.health = {settings.camera_id: Health() for settings in cameras}
        self.metrics: dict[str, Metrics] = {}  # of those that were started
        self.failures: dict[str, Exception] = {}  # the last one of each
        self._left = set(self.health)  # those that are not over
        self._lives: dict[str, Lifecycle] = {}
        self._stopping = asyncio.Event()

    def request_stop(self) -> None:
        """Begin to stop all; asking again ends their draining."""
        self._stopping.set()
        for life in self._lives.values():
            life.request_stop()

    async def keep(self, settings: EdgeSettings, encoding: SharedEncoding) -> None:
        """Run one, and again some time after it has failed, while another works."""
        name, backoff = settings.camera_id, FullJitter(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS)
        LOG_CAMERA.set(name)
        while not self._stopping.is_set():
            started = time.monotonic()
            if is_over := await self._run(settings, encoding):
                self._left.remove(name)
            if all(self.health[left].failure for left in self._left):
                self.request_stop()
            if is_over:
                return
            if time.monotonic() - started > _LAST_RETRY_SECONDS:
                backoff.reset()
            wait = backoff.next_seconds()
            logger.warning("camera is tried again", extra={"seconds": wait})
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()

    async def _run(self, settings: EdgeSettings, encoding: SharedEncoding) -> bool:
        """Whether it is over, and will not begin again."""
        name, health = settings.camera_id, self.health[settings.camera_id]
        life, metrics = _lifecycle(settings), Metrics("edge")
        self._lives[name], self.metrics[name] = life, metrics
        try:
            await _run(settings, encoding, health, metrics, life)
        except Exception as exc:
            is_foreseen = isinstance(exc, EdgeError | ControlError | ModelError)
            why = str(exc) or repr(exc)
            extra = {"reason": why}
            logger.error("camera failed", extra=extra, exc_info=None if is_foreseen else exc)
            self.failures[name], health.failure = exc, why
            # What has ended would begin from its first picture.
            captured = metrics.registry.get_sample_value("slim_edge_frames_captured_total")
            return bool(captured) and isinstance(exc, CameraError | UndeliveredError)
        health.failure = ""
        return True


@asynccontextmanager
async def _shared(
    settings: EdgeSettings, health: Health | ProcessHealth, metrics: Mapping[str, Metrics]
) -> AsyncIterator[SharedEncoding]:
    """What there is once, however many cameras: encoders, and the server of health and metrics."""
    encoding, server = SharedEncoding(settings.encoder_threads), None
    try:
        if settings.http_port is not None:
            server = await serve_health(
                health,
                lambda: expose_by("camera", metrics),
                settings.http_host,
                settings.http_port,
            )
        yield encoding
    finally:
        if server is not None:
            server.close()
        encoding.close()


def _lifecycle(settings: EdgeSettings, *, handle_signals: bool = False) -> Lifecycle:
    return Lifecycle(
        deadline_seconds=min(settings.drain_seconds, _STOP_DRAIN_SECONDS),
        handle_signals=handle_signals,
        expected=(EdgeError,),
    )


async def _run(
    settings: EdgeSettings,
    encoding: SharedEncoding,
    health: Health,
    metrics: Metrics,
    life: Lifecycle,
    observer: EdgeObserver | None = None,
    recording: Bookmark | None = None,
    stop: asyncio.Event | None = None,
) -> str:
    """As `run_edge`."""
    async with life:
        source = open_source(
            settings.source,
            settings.picture_fps,
            options=dict(o.split("=", 1) for o in settings.source_options.split(",") if o),
            timeout_seconds=settings.source_timeout_seconds,
            snapshot_seconds=settings.snapshot_seconds,
            keep_damaged=settings.keep_damaged,
        )
        if recording is not None:
            source = as_recording(source, recording.start_unix)
            recording.total = source.frames
        codec = await encoding.load(settings)
        edge = Edge(settings, codec, encoding, health, metrics, life, observer, recording)
        await edge.start(source)
        if stop is not None:
            life.spawn(_stop_when(stop, life), "stop")
        try:
            await life.wait()
        except asyncio.CancelledError:
            life.end(0.0)
            raise
    return edge.check_delivery()


async def _stop_when(stop: asyncio.Event, life: Lifecycle) -> None:
    await stop.wait()
    life.request_stop()
