"""The stages of one edge, built and wired to each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from slimcodec.graph.device import this_device
from slimcodec.model.artifact import CodecArtifact
from slimcontrol.budget import Budget, BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint, build_operating_points, restrict_points
from slimedge.backoff import FullJitter
from slimedge.condition import Condition
from slimedge.encode.calibration import EncodeCalibration, cache_folder
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
    ledger, may_go, health, metrics = Ledger(), Condition(), Health(), Metrics("edge")
    calibration = EncodeCalibration(
        artifact.fingerprint,
        artifact.profile,
        this_device(settings.encoder_threads),
        settings.cache_folder or cache_folder(),
    )
    controller = Controller(
        points,
        {
            level.level: calibration.seconds_per_pixel(level.level)
            or guess_encode_seconds(level.kmac_per_pixel)
            for level in artifact.levels
        },
        deadline_seconds=settings.deadline_seconds or None,
        frame_seconds=1 / settings.max_fps,
        cpu_share=settings.cpu_share,
    )
    epoch = time.time_ns() // 1000  # a later start has a larger one
    counting = MetricsObserver(
        metrics, lambda: float(ledger.in_flight_bytes), lambda: controller.rate.mean
    )
    folder = settings.spool_folder
    spool = SpoolWorker(
        None if folder is None else folder / f"{settings.camera_id}.spool",
        epoch,
        max_bytes=settings.spool_bytes,
        max_age_seconds=settings.spool_age_seconds,
        is_held=ledger.holds,
        observer=Observers(health, counting, *(() if observer is None else (observer,))),
    )
    counting.watch_spool(spool)
    gap_watch = GapWatch(epoch, spool.record, time.time)
    told = Observers(health, counting, gap_watch, *(() if observer is None else (observer,)))
    wanted = None
    if settings.budget_bytes:
        wanted = Budget(settings.budget_bytes, settings.budget_seconds)
    budget = BudgetAccount(wanted, lambda: ledger.sent_bytes, time.monotonic)
    worker = EncodeWorker(encoder, settings.max_edge)
    ring = FrameRing(settings.ring_frames, settings.ring_bytes)
    refetcher = Refetcher(ring, worker, ledger, told, may_go, time.monotonic)
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
        Feedback(controller, told, budget, refetcher.ask, time.monotonic),
        may_go,
        deadline_seconds=settings.deadline_seconds or None,
        expire_seconds=settings.expire_seconds or None,
        backoff=FullJitter(
            settings.reconnect_min_seconds, settings.reconnect_max_seconds, Random()
        ),
        clock=time.monotonic,
    )
    backfill = Backfill(spool, ledger, uplink, controller, budget, told, may_go, time.monotonic)
    pipeline = Pipeline(
        settings,
        worker,
        calibration,
        controller,
        ledger,
        uplink,
        spool,
        budget,
        ring,
        told,
        may_go,
        time.monotonic,
    )
    return Stages(
        told,
        health,
        metrics,
        worker,
        refetcher,
        spool,
        gap_watch,
        uplink,
        backfill,
        pipeline,
        _warm_up_points(points),
    )


def _warm_up_points(points: tuple[OperatingPoint, ...]) -> tuple[OperatingPoint, ...]:
    """The middle quality of every level that may be chosen."""
    chosen = []
    for level in sorted({point.level for point in points}):
        qualities = [point for point in points if point.level == level]
        chosen.append(qualities[len(qualities) // 2])
    return tuple(chosen)
