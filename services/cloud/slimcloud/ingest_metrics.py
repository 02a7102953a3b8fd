"""What ingest counts."""

from __future__ import annotations

from collections.abc import Callable

from slimops import Metrics

__all__ = ["IngestMetrics"]


class IngestMetrics:
    """The ingest role's part of a process's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._frames = metrics.counter("frames", "Frames PERSISTED", ("width_level",))
        self._duplicates = metrics.counter("frames_duplicate", "Frames that were stored already")
        self._refused = metrics.counter("frames_refused", "Containers with a Nack", ("reason",))
        self._frame_bytes = metrics.histogram("frame_bytes", "Size of a base container")
        self._enhancements = metrics.counter("enhancements", "Enhancements PERSISTED")
        self._enhancement_bytes = metrics.histogram(
            "enhancement_bytes", "Size of an enhancement container"
        )
        self._answer_seconds = metrics.histogram(
            "detected_seconds", "From RECEIVED to DETECTED, as the camera is told"
        )

    def watch_streams(self, count: Callable[[], float]) -> None:
        """Show the number of connected cameras."""
        self._metrics.gauge("streams", "Connected cameras", count)

    def frame_taken(self, width_level: int, frame_bytes: int, *, is_new: bool) -> None:
        if not is_new:
            self._duplicates.inc()
            return
        self._frames.labels(str(width_level)).inc()
        self._frame_bytes.observe(frame_bytes)

    def enhancement_taken(self, enhancement_bytes: int) -> None:
        self._enhancements.inc()
        self._enhancement_bytes.observe(enhancement_bytes)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def answered(self, seconds: float) -> None:
        self._answer_seconds.observe(seconds)
