"""The stages of one edge, built and wired to each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from slimcodec.graph.runtime import this_device
from slimcodec.model.artifact import CodecArtifact
from slimcontrol.budget import Budget, BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint, build_operating_points, restrict_points
from slimedge.backoff import FullJitter
from slimedge.condition import Condition
from slimedge.encode.calibration import EncodeCalibration
from slimedge.encode.stage import EncodeStage
from slimedge.encode.worker import EncodeWorker, FrameEncoder, guess_encode_seconds
from slimedge.event import EdgeObserver, Observers
from slimedge.feedback import Feedback
from slimedge.link.backfill import Backfill
from slimedge.link.cloud_channel import CloudEndpoint
from slimedge.link.refetch import Refetcher
from slimedge.link.uplink import Uplink
from slimedge.link.wire import make_hello
from slimedge.memory.ledger import Ledger
from slimedge.memory.ring import FrameRing
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.pipeline import Pipeline
from slimedge.settings import EdgeSettings
from slimedge.watch.gap_watch import GapWatch
from slimedge.watch.health import Health
from slimedge.watch.metrics import MetricsObserver
from slimops.metrics import Metrics
from slimops.user_folder import user_folder


@dataclass(frozen=True, slots=True)
class Stages:
    """What runs in one edge process, besides the camera."""

    observer: EdgeObserver  # health, metrics, and whoever else was given
    health: Health
    metrics: Metrics
    worker: EncodeWorker
    refetcher: Refetcher
    spool: SpoolWorker
    gap_watch: GapWatch
    uplink: Uplink
    backfill: Backfill
    pipeline: Pipeline
    warm_up_points: tuple[OperatingPoint, ...]


def build_stages(
    settings: EdgeSettings,
    artifact: CodecArtifact,
    encoder: FrameEncoder,
    observer: EdgeObserver | None,
) -> Stages:
    """Build an edge; nothing runs yet but idle threads.

    Raises:
        ControlError: the settings ask for a level or quality that the model does not have.
    """
    points = restrict_points(
        build_operating_points(artifact.levels, artifact.manifest.qualities, artifact.profile),
        settings.level,
        settings.quality,
        settings.max_level,
    )
    epoch = time.time_ns() // 1000  # a later start has a larger one
    clock = time.monotonic
    ledger, may_go = Ledger(), Condition()
    budget = BudgetAccount(_budget_of(settings), lambda: ledger.sent_bytes, clock)
    calibration = EncodeCalibration(
        artifact.fingerprint,
        artifact.profile,
        this_device(settings.encoder_threads),
        settings.cache_folder or user_folder("XDG_CACHE_HOME", ".cache"),
    )
    controller = _build_controller(settings, artifact, points, calibration)

    # Who watches, and the spool, which is watched and keeps the gaps that are seen.
    health, metrics = Health(), Metrics("edge")
    counting = MetricsObserver(
        metrics, lambda: float(ledger.in_flight_bytes), lambda: controller.rate.mean
    )
    observers = Observers(health, counting, *(() if observer is None else (observer,)))
    folder = settings.spool_folder
    spool = SpoolWorker(
        None if folder is None else folder / f"{settings.camera_id}.spool",
        epoch,
        max_bytes=settings.spool_bytes,
        max_age_seconds=settings.spool_age_seconds,
        is_held=ledger.holds,
        observer=observers,
    )
    counting.watch_spool(spool)
    gap_watch = GapWatch(epoch, spool.record, time.time)
    observers.add(gap_watch)

    # From the picture to the cloud, and what the cloud asks for.
    worker = EncodeWorker(encoder, settings.max_edge)
    ring = FrameRing(settings.ring_frames, settings.ring_bytes)
    refetcher = Refetcher(ring, worker, ledger, observers, may_go, clock)
    uplink = Uplink(
        CloudEndpoint.of(settings),
        lambda unpersisted: make_hello(
            settings.camera_id,
            epoch,
            artifact.fingerprint,
            artifact.label,
            settings.deadline_seconds,
            budget.budget,
            unpersisted,
        ),
        ledger,
        spool,
        Feedback(controller, observers, budget, refetcher.ask, clock),
        may_go,
        deadline_seconds=settings.deadline_seconds or None,
        expire_seconds=settings.expire_seconds or None,
        backoff=FullJitter(
            settings.reconnect_min_seconds, settings.reconnect_max_seconds, Random()
        ),
        clock=clock,
    )
    pipeline = Pipeline(
        settings,
        controller=controller,
        encode=EncodeStage(
            worker=worker,
            calibration=calibration,
            controller=controller,
            ring=ring,
            observer=observers,
            clock=clock,
        ),
        ledger=ledger,
        uplink=uplink,
        spool=spool,
        budget=budget,
        observer=observers,
        may_go=may_go,
        clock=clock,
    )
    return Stages(
        observer=observers,
        health=health,
        metrics=metrics,
        worker=worker,
        refetcher=refetcher,
        spool=spool,
        gap_watch=gap_watch,
        uplink=uplink,
        backfill=Backfill(spool, ledger, uplink, controller, budget, observers, may_go, clock),
        pipeline=pipeline,
        warm_up_points=_warm_up_points(points),
    )


def _build_controller(
    settings: EdgeSettings,
    artifact: CodecArtifact,
    points: tuple[OperatingPoint, ...],
    calibration: EncodeCalibration,
) -> Controller:
    encode_seconds = {
        level.level: calibration.seconds_per_pixel(level.level)
        or guess_encode_seconds(level.kmac_per_pixel)
        for level in artifact.levels
    }
    return Controller(
        points,
        encode_seconds,
        deadline_seconds=settings.deadline_seconds or None,
        frame_seconds=1 / settings.max_fps,
        cpu_share=settings.cpu_share,
    )


def _budget_of(settings: EdgeSettings) -> Budget | None:
    if not settings.budget_bytes:
        return None
    return Budget(settings.budget_bytes, settings.budget_seconds)


def _warm_up_points(points: tuple[OperatingPoint, ...]) -> tuple[OperatingPoint, ...]:
    """The middle quality of every level that may be chosen."""
    chosen = []
    for level in sorted({point.level for point in points}):
        qualities = [point for point in points if point.level == level]
        chosen.append(qualities[len(qualities) // 2])
    return tuple(chosen)
