"""The stages of one edge, built and wired to each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from slimcodec.artifact import CodecArtifact
from slimedge.backoff import FullJitter
from slimedge.change import Change
from slimedge.cloud_channel import CloudEndpoint
from slimedge.controller import Controller
from slimedge.encode import EncodeWorker, FrameEncoder, guess_encode_seconds
from slimedge.event import EdgeObserver, Observers
from slimedge.feedback import Feedback
from slimedge.health import Health
from slimedge.jpeg import JpegMeter
from slimedge.ledger import Ledger
from slimedge.metrics import MetricsObserver
from slimedge.pipeline import Pipeline
from slimedge.profile import OperatingPoint, build_operating_points, restrict_points
from slimedge.refetch import Refetcher
from slimedge.ring import FrameRing
from slimedge.settings import EdgeSettings
from slimedge.uplink import Uplink
from slimedge.wire import make_hello
from slimops.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Stages:
    """What runs in one edge process, besides the camera."""

    observer: EdgeObserver  # health, metrics, and whoever else was given
    health: Health
    metrics: Metrics
    worker: EncodeWorker
    jpeg: JpegMeter | None
    refetcher: Refetcher
    uplink: Uplink
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
        EdgeError: the settings ask for a level or quality that the model does not have.
    """
    points = restrict_points(
        build_operating_points(artifact.levels, artifact.manifest.qualities, artifact.profile),
        settings.level,
        settings.quality,
        settings.max_level,
    )
    ledger, change, health, metrics = Ledger(), Change(), Health(), Metrics("edge")
    controller = Controller(
        points,
        {level.level: guess_encode_seconds(level.kmac_per_pixel) for level in artifact.levels},
        deadline_seconds=settings.deadline_seconds,
        frame_seconds=1 / settings.max_fps,
    )
    counting = MetricsObserver(
        metrics, lambda: float(ledger.in_flight_bytes), lambda: controller.rate.mean
    )
    told = Observers(health, counting, *(() if observer is None else (observer,)))
    worker = EncodeWorker(encoder, settings.max_edge)
    jpeg = JpegMeter(told) if settings.measure_jpeg else None
    ring = FrameRing(settings.ring_frames, settings.ring_bytes)
    refetcher = Refetcher(ring, worker, ledger, told, change, time.monotonic)
    uplink = Uplink(
        CloudEndpoint.of(settings),
        make_hello(
            settings.camera_id,
            time.time_ns() // 1000,  # the epoch: a later start has a larger one
            artifact.fingerprint,
            artifact.label,
            settings.deadline_ms,
        ),
        ledger,
        Feedback(controller, told, jpeg, refetcher.ask, time.monotonic),
        change,
        deadline_seconds=settings.deadline_seconds,
        expire_seconds=settings.expire_seconds,
        backoff=FullJitter(
            settings.reconnect_min_seconds, settings.reconnect_max_seconds, Random()
        ),
        clock=time.monotonic,
    )
    pipeline = Pipeline(
        settings, worker, controller, ledger, uplink, ring, jpeg, told, change, time.monotonic
    )
    return Stages(
        told, health, metrics, worker, jpeg, refetcher, uplink, pipeline, _warm_up_points(points)
    )


def _warm_up_points(points: tuple[OperatingPoint, ...]) -> tuple[OperatingPoint, ...]:
    """The middle quality of every level that may be chosen."""
    chosen = []
    for level in sorted({point.level for point in points}):
        qualities = [point for point in points if point.level == level]
        chosen.append(qualities[len(qualities) // 2])
    return tuple(chosen)
