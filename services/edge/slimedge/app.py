"""One edge process: its parts, wired to each other; how they run, and how they stop.

    camera thread ─► pipeline ─► encoder thread ─► uplink ═ gRPC ═► cloud
                        ▲            refetcher ◄──────┘│▲
                        └── controller ◄── answers ◄───┘└─ backfill ◄─ spool ◄─ what must wait

To stop (`slimops.lifecycle`): the camera, then what is on its way for a bounded time, then the
stream; what the cloud does not have by then goes to the spool.
"""

import asyncio
import contextlib
import logging
import math
import time

from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import this_device
from slimcontrol.budget import Budget, BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimcontrol.profile import build_operating_points, restrict_points
from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraEnded, CameraMessage
from slimedge.capture.recording import as_recording
from slimedge.capture.source import FrameSource, open_source
from slimedge.capture.wall_clock import WallClock
from slimedge.encode.calibration import EncodeCalibration, guess_encode_seconds
from slimedge.encode.stage import EncodeStage
from slimedge.encode.worker import EncodeWorker
from slimedge.errors import CameraError, EdgeError, StoppedError, UndeliveredError
from slimedge.event import CameraChanged, ClockStepped, Damaged, EdgeEvent, EdgeObserver
from slimedge.frame import CapturedFrame
from slimedge.link.answer import AnswerReader
from slimedge.link.backfill import Backfill
from slimedge.link.refetch import Refetcher
from slimedge.link.traffic import LinkMeter
from slimedge.link.uplink import Uplink
from slimedge.link.wire import make_hello
from slimedge.memory.bookmark import Bookmark
from slimedge.memory.ledger import Ledger
from slimedge.memory.originals import Originals
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.pipeline import Pipeline
from slimedge.settings import EdgeSettings
from slimedge.watch.gap_watch import GapWatch
from slimedge.watch.health import Health, serve_health
from slimedge.watch.metrics import MetricsObserver
from slimops.lifecycle import Lifecycle, Phase
from slimops.metrics import Metrics
from slimops.user_folder import user_folder

logger = logging.getLogger(__name__)

_STOP_DRAIN_SECONDS = 1.5  # for results on their way when the edge is told to stop
_CAMERA_JOIN_SECONDS = 1.0  # a camera that hangs in the operating system is left behind
_SPOOL_SECONDS = 60.0  # for a slow disk, to keep what is handed to it at the end


async def run_edge(
    settings: EdgeSettings,
    observer: EdgeObserver | None = None,
    *,
    recording: Bookmark | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> str:
    """Run one edge until its source ends, `stop` is set, or it is cancelled.

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
    life = Lifecycle(
        deadline_seconds=min(settings.drain_seconds, _STOP_DRAIN_SECONDS),
        handle_signals=handle_signals,
        expected=(EdgeError,),
    )
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
        artifact = await asyncio.to_thread(
            lambda: load_codec_artifact(find_model("codec", settings.model, settings.models_root))
        )
        runtime = await asyncio.to_thread(OpenVinoRuntime, settings.encoder_threads)
        edge = _Edge(settings, artifact, Encoder(artifact, runtime), observer, life, recording)
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


class _Observers(list[EdgeObserver]):
    """Several observers as one, told in order."""

    def notify(self, event: EdgeEvent) -> None:
        for observer in self:
            observer.notify(event)


class _Edge:
    """The parts around one camera, run by a `Lifecycle`; idle until `start`."""

    def __init__(
        self,
        settings: EdgeSettings,
        artifact: CodecArtifact,
        encoder: Encoder,
        observer: EdgeObserver | None,
        life: Lifecycle,
        recording: Bookmark | None,
    ) -> None:
        self._settings = settings
        self._life = life
        self._recording = recording
        self._loop = asyncio.get_running_loop()
        self._camera_ended: asyncio.Future[CameraError | None] = self._loop.create_future()
        self._has_source_ended = False  # by itself
        # A later start of a camera has a larger one.
        epoch = time.time_ns() // 1000 if recording is None else recording.epoch
        points = restrict_points(
            build_operating_points(artifact.levels, artifact.manifest.qualities, artifact.profile),
            settings.level,
            settings.quality,
            settings.max_level,
        )
        self._warm_up_points = _middle_qualities(points)
        calibration = EncodeCalibration(
            artifact.fingerprint,
            artifact.profile,
            this_device(settings.encoder_threads),
            settings.cache_folder or user_folder("XDG_CACHE_HOME", ".cache"),
        )
        controller = Controller(
            points,
            {level.level: guess_encode_seconds(level.kmac_per_pixel) for level in artifact.levels},
            deadline_seconds=settings.deadline_seconds or None,
            frame_seconds=1 / settings.max_fps,
            cpu_share=settings.cpu_share,
            byte_price=settings.byte_price,
        )
        clock = time.monotonic
        ledger, meter = Ledger(), LinkMeter()
        budget = BudgetAccount(
            Budget(settings.budget_bytes, settings.budget_seconds)
            if settings.budget_bytes
            else None,
            # Where the socket is not measured, containers alone count.
            lambda: max(ledger.sent_bytes, meter.read().total_bytes),
            clock,
        )

        # Who watches, and the spool, which is watched and keeps the gaps that are seen.
        def ack_age() -> float | None:
            return ledger.answer_age(clock())

        self._health, self._metrics = Health(ack_age), Metrics("edge")
        self._counting = counting = MetricsObserver(
            self._metrics,
            lambda: float(ledger.in_flight_bytes),
            lambda: controller.rate.mean,
            lambda: math.nan if (age := ack_age()) is None else age,
        )
        self._observers = observers = _Observers([self._health, counting])
        observers += [o for o in (recording, observer) if o is not None]
        folder = settings.spool_folder
        self._spool = spool = SpoolWorker(
            None if folder is None else folder / f"{settings.camera_id}.spool",
            epoch,
            max_bytes=settings.spool_bytes,
            max_age_seconds=settings.spool_age_seconds,
            is_held=ledger.holds,
            observer=observers,
        )
        counting.watch_spool(spool)
        self._gap_watch = GapWatch(epoch, spool.record, time.time)
        observers.append(self._gap_watch)

        # From the picture to the cloud, and what the cloud asks for.
        self._worker = worker = EncodeWorker(
            encoder, settings.max_edge, lambda: ledger.max_pixels, settings.key_seconds
        )
        originals = Originals(
            settings.ring_frames,
            settings.ring_bytes,
            None if folder is None else folder / f"{settings.camera_id}.originals",
        )
        self._originals = originals
        counting.watch_originals(originals)
        self._refetcher = Refetcher(originals, worker, ledger, observers, clock)
        answers = AnswerReader(
            ledger=ledger,
            spool=spool,
            controller=controller,
            budget=budget,
            observer=observers,
            ask_refetch=self._refetcher.ask,
            clock=clock,
        )
        self._uplink = Uplink(
            settings=settings,
            hello=lambda unpersisted: make_hello(
                settings, epoch, artifact.fingerprint, artifact.label, budget.budget, unpersisted
            ),
            ledger=ledger,
            spool=spool,
            answers=answers,
            observer=observers,
            clock=clock,
            meter=meter,
            is_recording=recording is not None,
        )
        self._backfill = Backfill(spool, ledger, self._uplink, controller, budget, observers, clock)
        encode = EncodeStage(
            worker=worker,
            calibration=calibration,
            controller=controller,
            originals=originals,
            max_depth=lambda: (
                0
                if artifact.context is None
                else min(settings.reference_depth, ledger.max_reference_depth)
            ),
            earlier_sequence=lambda: ledger.earlier_sequence,
            observer=observers,
            clock=clock,
        )
        observers.append(encode)
        self._pipeline = Pipeline(
            settings=settings,
            controller=controller,
            encode=encode,
            ledger=ledger,
            uplink=self._uplink,
            spool=spool,
            budget=budget,
            observer=observers,
            clock=clock,
            is_recording=recording is not None,
        )

    async def start(self, source: FrameSource) -> None:
        """Start everything, and say how it stops."""
        settings, life = self._settings, self._life
        camera = Camera(
            source,
            self._post,
            loop=settings.loop,
            backoff=FullJitter(settings.reconnect_min_seconds, settings.reconnect_max_seconds),
            clock=WallClock(),
            after=0 if self._recording is None else self._recording.frames,
        )
        pipeline = life.spawn(self._pipeline.run(self._warm_up_points, camera.want), "pipeline")
        others = [
            life.spawn(self._uplink.run(), "uplink"),
            life.spawn(self._refetcher.run(self._uplink), "refetcher"),
            life.spawn(self._spool.run(), "spool"),
            life.spawn(self._backfill.run(), "backfill"),
        ]
        life.spawn(self._end_with_the_camera(), "camera")

        async def refuse() -> None:
            self._has_source_ended = self._camera_ended.done()
            camera.stop()
            self._pipeline.end()

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

        async def keep_the_rest() -> None:
            self._pipeline.give_up()
            self._gap_watch.finish()
            await self._spool.close()

        async def say_totals() -> None:
            logger.info("camera ended: %s", self._counting.totals())

        life.on_stop(Phase.REFUSE, "camera", refuse)
        life.on_stop(Phase.DRAIN, "results", drain)
        life.on_stop(Phase.CLOSE, "totals", say_totals)  # closed in reverse, so this is the last
        life.on_stop(Phase.CLOSE, "camera", join_camera)
        if settings.http_port is not None:
            server = await serve_health(
                self._health, self._metrics.exposition, settings.http_host, settings.http_port
            )

            async def answer_no_more() -> None:
                server.close()

            life.on_stop(Phase.CLOSE, "health", answer_no_more)
        life.on_stop(Phase.CLOSE, "encoder", self._worker.close)
        life.on_stop(Phase.CLOSE, "originals", lambda: asyncio.to_thread(self._originals.close))
        life.on_stop(Phase.CLOSE, "spool", keep_the_rest, seconds=_SPOOL_SECONDS)
        camera.start()

    def check_delivery(self) -> str:
        """Say what came of the pictures; it is no success that a source has ended and nothing of
        it was delivered, or not all of a recording.
        """
        recording, totals = self._recording, self._counting.totals()
        why = f"; {self._health.link_failure}" if self._health.link_failure else ""
        if recording is not None and not (self._has_source_ended and recording.is_whole):
            raise StoppedError(f"stopped: {totals}{why}; started again, it goes on")
        if self._has_source_ended and not self._counting.has_delivered:
            raise UndeliveredError(f"nothing was delivered: {totals}{why}")
        if recording is not None and recording.refused:
            raise UndeliveredError(f"not all was taken: {totals}")
        return totals

    async def _finish(self, pipeline: asyncio.Task[None]) -> None:
        await asyncio.wait([pipeline])
        await self._pipeline.drain()

    def _post(self, message: CameraMessage) -> None:
        """Take a message on the camera's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: CameraMessage) -> None:
        """Take a message of the camera on the event loop."""
        match message:
            case CapturedFrame():
                self._pipeline.deliver(message)
            case CameraChanged() | Damaged() | ClockStepped():
                self._observers.notify(message)
            case CameraEnded() if not self._camera_ended.done():
                self._camera_ended.set_result(message.failure)

    async def _end_with_the_camera(self) -> None:
        failure = await self._camera_ended
        self._life.end(self._settings.drain_seconds if self._recording is None else math.inf)
        if failure is not None:
            raise failure


def _middle_qualities(points: tuple[OperatingPoint, ...]) -> tuple[OperatingPoint, ...]:
    """One point, of the middle quality, for every level that may be chosen."""
    chosen = []
    for level in sorted({point.level for point in points}):
        qualities = [point for point in points if point.level == level]
        chosen.append(qualities[len(qualities) // 2])
    return tuple(chosen)
