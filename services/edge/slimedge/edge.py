"""The parts around one camera, wired to each other; how they start, and how they stop.

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

from slimcontrol.budget import Budget, BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimcontrol.profile import build_operating_points, restrict_points
from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraEnded, CameraMessage
from slimedge.capture.source import FrameSource
from slimedge.capture.wall_clock import WallClock
from slimedge.encode.calibration import guess_encode_seconds
from slimedge.encode.shared import SharedCodec, SharedEncoding
from slimedge.encode.stage import EncodeStage
from slimedge.encode.worker import EncodeWorker
from slimedge.errors import CameraError, StoppedError, UndeliveredError
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
from slimedge.watch.health import Health
from slimedge.watch.metrics import MetricsObserver
from slimops.lifecycle import Lifecycle, Phase
from slimops.metrics import Metrics

logger = logging.getLogger(__name__)

_CAMERA_JOIN_SECONDS = 1.0  # a camera that hangs in the operating system is left behind
_SPOOL_SECONDS = 60.0  # for a slow disk, to keep what is handed to it at the end


class _Observers(list[EdgeObserver]):
    """Several observers as one, told in order."""

    def notify(self, event: EdgeEvent) -> None:
        for observer in self:
            observer.notify(event)


class Edge:
    """What takes one camera to the cloud, run by a `Lifecycle`; idle until `start`.

    Args:
        settings: Of this camera.
        codec: Encodes its pictures, on the thread of `encoding`, as those of other cameras.
        health: Is told what happens, as are `metrics` and `observer`.
        recording: The source is one, and this says how far it was sent.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        codec: SharedCodec,
        encoding: SharedEncoding,
        health: Health,
        metrics: Metrics,
        life: Lifecycle,
        observer: EdgeObserver | None = None,
        recording: Bookmark | None = None,
    ) -> None:
        self._settings = settings
        self._life = life
        self._recording = recording
        self._loop = asyncio.get_running_loop()
        self._camera_ended: asyncio.Future[CameraError | None] = self._loop.create_future()
        self._has_source_ended = False  # by itself
        # A later start of a camera has a larger one.
        epoch = time.time_ns() // 1000 if recording is None else recording.epoch
        artifact = codec.artifact
        points = restrict_points(
            build_operating_points(artifact.levels, artifact.manifest.qualities, artifact.profile),
            settings.level,
            settings.quality,
            settings.max_level,
        )
        self._warm_up_points = _middle_qualities(points)
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

        self._health, health.ack_age = health, ack_age
        self._counting = counting = MetricsObserver(
            metrics,
            lambda: float(ledger.in_flight_bytes),
            lambda: controller.rate.mean,
            lambda: math.nan if (age := ack_age()) is None else age,
        )
        self._observers = observers = _Observers([health, counting])
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
            codec.encoder,
            settings.max_edge,
            lambda: ledger.max_pixels,
            settings.key_seconds,
            thread=encoding.thread,
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
            calibration=codec.calibration,
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
            share=lambda seconds: encoding.shares.of(settings.camera_id, seconds, clock()),
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
