"""What ingest counts."""

from slimops.metrics import Metrics


class IngestMetrics:
    """The ingest role's part of a process's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.frames = metrics.counter("frames", "Frames PERSISTED", ("width_level",))
        self.duplicates = metrics.counter("frames_duplicate", "Frames that were stored already")
        self.refused = metrics.counter("frames_refused", "Containers with a Nack", ("reason",))
        self.frame_bytes = metrics.histogram("frame_bytes", "Size of a base container")
        self.enhancements = metrics.counter("enhancements", "Enhancements PERSISTED")
        self.enhancement_bytes = metrics.histogram(
            "enhancement_bytes", "Size of an enhancement container"
        )
        self.answer_seconds = metrics.histogram(
            "detected_seconds", "From RECEIVED to DETECTED, as the camera is told"
        )
        self.gaps = metrics.counter("gaps", "Gaps that cameras told of", ("reason",))
        self.gap_frames = metrics.counter(
            "gap_frames", "Pictures that cameras dropped, as far as they know", ("reason",)
        )
        self.broken_budgets = metrics.counter(
            "budgets_broken", "Times that a camera sent a period's bytes more than its budget"
        )
        self.streams = metrics.gauge("streams", "Connected cameras")
        self.cameras = metrics.gauge(
            "cameras", "Cameras on the list, by how they fare", labels=("state",)
        )
        self.credit_bytes = metrics.gauge("credit_bytes", "Least window of a camera; 0 = it waits")
        self.clock_offset_seconds = metrics.gauge(
            "clock_offset_seconds",
            "Largest of a camera; 0 = all in step",  # which camera's, the API says
        )
