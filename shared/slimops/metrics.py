"""Metrics with one way to name them: `slim_<service>_<thing>_<unit>[_total]`, in base units.

    metrics = Metrics("cloud")
    frames = metrics.counter("frames", "Frames taken", ("width_level",))   # slim_cloud_frames_total
    wait = metrics.histogram("queue_seconds", "Waiting to start")  # slim_cloud_queue_seconds

Labels come from small sets (`width_level`, `stage`, `reason`), never a frame, nor anything else
that a stranger chooses, as a camera is to a cloud: each combination is a time series.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BYTES_BUCKETS = tuple(float(2**power) for power in range(8, 23))  # 256 bytes to 4 MiB
COUNT_BUCKETS = tuple(float(2**power) for power in range(8))  # 1 to 128
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SCALED_UNIT = re.compile(r"_(ms|us|ns|milliseconds|microseconds|kb|mb|kib|mib|percent)$")


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = f"slim_{service}"

    def counter(self, thing: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Make one that counts up; `_total` is added to its name."""
        return Counter(self._name(thing), documentation, labels, registry=self.registry)

    def gauge(
        self,
        thing: str,
        documentation: str,
        read: Callable[[], float] | None = None,
        labels: Sequence[str] = (),
    ) -> Gauge:
        """Make one that goes up and down; with `read` it is asked when metrics are collected."""
        gauge = Gauge(self._name(thing), documentation, labels, registry=self.registry)
        if read is not None:
            gauge.set_function(read)
        return gauge

    def histogram(self, thing: str, documentation: str, labels: Sequence[str] = ()) -> Histogram:
        """How values are spread; buckets follow from the unit: `_seconds`, `_bytes` or a count."""
        name = self._name(thing)
        buckets = COUNT_BUCKETS
        if name.endswith("_seconds"):
            buckets = SECONDS_BUCKETS
        elif name.endswith("_bytes"):
            buckets = BYTES_BUCKETS
        return Histogram(name, documentation, labels, buckets=buckets, registry=self.registry)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _name(self, thing: str) -> str:
        if not _NAME.fullmatch(thing) or _SCALED_UNIT.search(thing):
            raise ValueError(f"metric {thing!r}: use lower_case words that end in a base unit")
        return f"{self._prefix}_{thing}"


def join_by(label: str, parts: Mapping[str, Metrics]) -> CollectorRegistry:
    """Several of one service together, each series with its part's name as a label."""
    registry = CollectorRegistry()
    registry.register(_Labelled(label, parts))
    return registry


def expose_by(label: str, parts: Mapping[str, Metrics]) -> bytes:
    """As `exposition`, of what `join_by` joins."""
    return generate_latest(join_by(label, parts))


class _Labelled(Collector):
    def __init__(self, label: str, parts: Mapping[str, Metrics]) -> None:
        self._label, self._parts = label, parts

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for name, metrics in self._parts.items():
            for family in metrics.registry.collect():
                joined = merged.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                joined.samples += [
                    sample._replace(labels={self._label: name, **sample.labels})
                    for sample in family.samples
                ]
        return merged.values()
