"""Metrics of a cloud after each of them was counted once."""

from __future__ import annotations

import inspect

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from slimcloud.detect.metrics import DetectMetrics
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.review import ReviewMetrics
from slimops.metrics import Metrics

# what a counting method is called with, by the annotation of its parameter
_SAMPLES: dict[str, object] = {
    "int": 2,
    "float": 0.5,
    "bool": True,
    "str": "some",
    "Callable": lambda: 7.0,
}


def call_every_method(counted: object) -> None:
    """Call each public method of `counted`, with a bool both ways."""
    for name, method in inspect.getmembers(counted, inspect.ismethod):
        parameters = inspect.signature(method).parameters
        if name.startswith("_"):
            continue
        arguments = {p.name: _sample(p) for p in parameters.values()}
        method(**arguments)
        flags = {p.name: False for p in parameters.values() if _annotation(p) == "bool"}
        if flags:
            method(**{**arguments, **flags})


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
    counted = [IngestMetrics(metrics), DetectMetrics(metrics), ReviewMetrics(metrics)]
    before = sums(metrics.registry)
    for each in counted:
        call_every_method(each)
        move_every_metric(each)
    return metrics, before


def sums(registry: CollectorRegistry) -> dict[str, float]:
    """The sum of the samples of each family, times of creation left out."""
    return {
        family.name: sum(s.value for s in family.samples if not s.name.endswith("_created"))
        for family in registry.collect()
    }


def _annotation(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.partition("[")[0]


def _sample(parameter: inspect.Parameter) -> object:
    return _SAMPLES.get(_annotation(parameter), "hit")
