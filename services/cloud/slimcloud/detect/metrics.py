"""What the detect role counts."""

from slimops.metrics import Metrics


class DetectMetrics:
    """The detect role's part of a process's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.detected = metrics.counter("frames_detected", "Frames detected", ("width_level",))
        self.queue_seconds = metrics.histogram("queue_seconds", "From RECEIVED to the batch")
        self.compute_seconds = metrics.histogram("compute_seconds", "Decoding and detection")
        self.batch_frames = metrics.histogram("batch_frames", "Frames in a batch")
        self.triaged = metrics.counter(
            "frames_triaged", "Frames that triage looked at, by what became of them", ("outcome",)
        )
        self.unchanged = metrics.counter(
            "frames_unchanged", "Frames in which nothing changed, answered as their references were"
        )
        self.references = metrics.counter(
            "references", "Frames decoded with a reference, by where its symbols were", ("found",)
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
