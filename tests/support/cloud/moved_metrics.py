"""Metrics of a cloud after each of them was counted once."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from slimcloud.detect.metrics import DetectMetrics
from slimcloud.event_runner import EventMetrics
from slimcloud.followed_file import FileMetrics
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.review import ReviewMetrics
from slimops.metrics import Metrics


def move_every_metric(counted: object) -> None:
    """Count once with each metric that `counted` gives out."""
    for name, metric in vars(counted).items():
        if name.startswith("_") or not isinstance(metric, MetricWrapperBase):
            continue
        if metric._labelnames:
            metric = metric.labels(*["some"] * len(metric._labelnames))
        if isinstance(metric, Histogram):
            metric.observe(0.5)
        elif isinstance(metric, Counter | Gauge):
            metric.inc(2)


def moved_cloud() -> tuple[Metrics, dict[str, float]]:
    """The metrics after all of that, and the sum of each family's samples before."""
    metrics = Metrics("cloud")
    made = (IngestMetrics, DetectMetrics, EventMetrics, ReviewMetrics, FileMetrics)
    counted: list[object] = [each(metrics) for each in made]
    before = sums(metrics.registry)
    for each in counted:
        move_every_metric(each)
    return metrics, before


def sums(registry: CollectorRegistry) -> dict[str, float]:
    """The sum of the samples of each family, times of creation left out."""
    return {
        family.name: sum(s.value for s in family.samples if not s.name.endswith("_created"))
        for family in registry.collect()
    }
