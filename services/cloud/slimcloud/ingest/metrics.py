"""What ingest counts."""

from slimops.metrics import Metrics


class IngestMetrics:
    """The ingest role's part of a process's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._frames = metrics.counter("frames", "Frames PERSISTED", ("width_level",))
        self._duplicates = metrics.counter("frames_duplicate", "Frames that were stored already")
        self.refused = metrics.counter("frames_refused", "Containers with a Nack", ("reason",))
        self._frame_bytes = metrics.histogram("frame_bytes", "Size of a base container")
        self._enhancements = metrics.counter("enhancements", "Enhancements PERSISTED")
        self._enhancement_bytes = metrics.histogram(
            "enhancement_bytes", "Size of an enhancement container"
        )
        self.answer_seconds = metrics.histogram(
            "detected_seconds", "From RECEIVED to DETECTED, as the camera is told"
        )
        self._gaps = metrics.counter("gaps", "Gaps that cameras told of", ("reason",))
        self._gap_frames = metrics.counter(
            "gap_frames", "Pictures that cameras dropped, as far as they know", ("reason",)
        )
        self.broken_budgets = metrics.counter(
            "budgets_broken", "Times that a camera sent a period's bytes more than its budget"
        )
        self.streams = metrics.gauge("streams", "Connected cameras")
        self.credit_bytes = metrics.gauge("credit_bytes", "Least window of a camera; 0 = it waits")
        self.clock_offset_seconds = metrics.gauge(
            "clock_offset_seconds",
            "Largest of a camera; 0 = all in step",  # which camera's, the API says
        )

    def frame_taken(self, width_level: int, frame_bytes: int, *, is_new: bool) -> None:
        if not is_new:
            self._duplicates.inc()
            return
        self._frames.labels(str(width_level)).inc()
        self._frame_bytes.observe(frame_bytes)

    def enhancement_taken(self, enhancement_bytes: int) -> None:
        self._enhancements.inc()
        self._enhancement_bytes.observe(enhancement_bytes)

    def gap_taken(self, reason: str, dropped_frames: int) -> None:
        self._gaps.labels(reason).inc()
        self._gap_frames.labels(reason).inc(dropped_frames)
