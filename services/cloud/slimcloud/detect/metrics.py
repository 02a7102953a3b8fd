"""What the detect role counts."""

from slimops.metrics import Metrics


class DetectMetrics:
    """The detect role's part of a process's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._detected = metrics.counter("frames_detected", "Frames detected", ("width_level",))
        self._queue_seconds = metrics.histogram("queue_seconds", "From RECEIVED to the batch")
        self._compute_seconds = metrics.histogram("compute_seconds", "Decoding and detection")
        self._batch_frames = metrics.histogram("batch_frames", "Frames in a batch")
        self.triaged = metrics.counter(
            "frames_triaged", "Frames that triage looked at, by what became of them", ("outcome",)
        )
        self.lost = metrics.counter(
            "frames_lost", "Frames without detections, and tries that failed", ("reason",)
        )
        self.reclaimed = metrics.counter("work_reclaimed", "Entries taken over from a worker")
        self.awaiting = metrics.gauge("awaiting_frames", "Frames that wait for their enhancement")
        self.outstanding = metrics.gauge(
            "work_frames", "Frames that wait or are worked on, but for backfill"
        )
        self.backfill = metrics.gauge(
            "backfill_frames", "Frames sent late that wait or are worked on"
        )
        self.dead_letters = metrics.gauge("dead_letters", "Frames given up, of the list kept")

    def detected(self, width_level: int, queue_seconds: float) -> None:
        self._detected.labels(str(width_level)).inc()
        self._queue_seconds.observe(queue_seconds)

    def batch(self, frames: int, compute_seconds: float) -> None:
        self._batch_frames.observe(frames)
        self._compute_seconds.observe(compute_seconds)
