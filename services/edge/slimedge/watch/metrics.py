"""Events as Prometheus metrics, `slim_edge_*`."""

from collections.abc import Callable

from prometheus_client.metrics import MetricWrapperBase

from slimedge import event as events
from slimedge.event import EdgeEvent
from slimedge.memory.originals import Originals
from slimedge.memory.spool_worker import SpoolWorker
from slimops.metrics import Metrics

_REPLACED = "replaced"  # the reason of a frame that a newer one displaced
_DAMAGED = "damaged"  # of a picture that could not be read whole


class MetricsObserver:
    """Counts and times what happens at the edge.

    Args:
        metrics: Where they are registered; made for the service `edge`.
        in_flight_bytes: Reads the bytes that count against the credit.
        link_rate: Reads what the controller believes, bytes per second.
        ack_age: Reads how long ago the cloud last answered, seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        in_flight_bytes: Callable[[], float],
        link_rate: Callable[[], float],
        ack_age: Callable[[], float],
    ) -> None:
        by_level = ("width_level",)
        self._captured = metrics.counter("frames_captured", "Frames that the camera gave")
        self._dropped = metrics.counter(
            "frames_dropped", "Frames that will not be detected", ("reason",)
        )
        self._sent = metrics.counter("frames_sent", "Frames sent, without repeats")
        self._resent = metrics.counter("frames_resent", "Repeats after a reconnect or damage")
        self._encode = metrics.histogram("encode_seconds", "Scaling and encoding", by_level)
        self._size = metrics.histogram("bitstream_bytes", "Container of a frame", by_level)
        self._probes = metrics.counter("probes", "Frames sent only to learn the link's rate")
        self._credit_wait = metrics.histogram("credit_wait_seconds", "Encoded until sent")
        self._ack = metrics.histogram("ack_seconds", "Sent until acknowledged", ("stage",))
        self._latency = metrics.histogram("latency_seconds", "Capture until detections are here")
        self._detections = metrics.counter("detections", "Objects found")
        self._nacks = metrics.counter("nacks", "Frames that the cloud refused", ("reason",))
        self._refetches = metrics.counter("refetches", "Enhancements asked for", ("reason",))
        self._link_changes = metrics.counter("link_changes", "Changes of the link", ("state",))
        self._traffic = metrics.counter(
            "link_bytes", "IP packets to and from the cloud", ("direction",)
        )
        self._link_up = metrics.gauge("link_up", "1 while a stream to the cloud is open")
        self._camera_up = metrics.gauge("camera_up", "1 while the camera gives pictures")
        self._camera_losses = metrics.counter("camera_losses", "Times that the camera was lost")
        self._spool_up = metrics.gauge("spool_up", "1 while frames can be kept on disk")
        self._spooled = metrics.counter("frames_spooled", "Frames kept on disk for later")
        self._backfilled = metrics.counter("frames_backfilled", "Kept frames that have arrived")
        self._gaps = metrics.counter("gaps", "Records of what the cloud never gets", ("reason",))
        self._clock_steps = metrics.counter("clock_steps", "Times that the wall clock was set")
        self._metrics = metrics
        metrics.gauge("in_flight_bytes", "Sent and not yet received", in_flight_bytes)
        metrics.gauge("link_rate_bytes_per_second", "Believed throughput of the link", link_rate)
        metrics.gauge("last_ack_age_seconds", "Since the cloud last answered", ack_age)

    def watch_spool(self, spool: SpoolWorker) -> None:
        """Show what waits on disk."""
        self._metrics.gauge("spool_frames", "Frames that wait on disk", lambda: float(spool.frames))
        self._metrics.gauge("spool_bytes", "Disk that they take", lambda: float(spool.used_bytes))

    def watch_originals(self, originals: Originals) -> None:
        """Show what is kept for people who want a frame sharper."""
        gauge = self._metrics.gauge
        gauge("originals_bytes", "Pictures kept", lambda: float(originals.size_bytes))
        gauge("originals_seconds", "For how long one is kept", lambda: originals.seconds)

    @property
    def has_delivered(self) -> bool:
        """Whether a frame has arrived, or is kept for later; or none was captured."""
        arrived = _counts(self._ack) | _counts(self._spooled)
        return any(arrived.values()) or not any(_counts(self._captured).values())

    def totals(self) -> str:
        """`25 captured, 20 sent, 19 detected; not detected: 4 replaced, 2 expired`."""
        known = {"captured": self._captured, "sent": self._sent, "detected": self._latency}
        line = ", ".join(f"{sum(_counts(m).values())} {name}" for name, m in known.items())
        others = _counts(self._dropped) | {"kept for later": _counts(self._spooled)[""]}
        why = [f"{count} {reason}" for reason, count in others.items() if count]
        return f"{line}; not detected: {', '.join(why)}" if why else line

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case events.Captured():
                self._captured.inc()
            case events.Damaged():
                self._dropped.labels(_DAMAGED).inc()
            case events.Replaced():
                self._dropped.labels(_REPLACED).inc()
            case events.Skipped(reason=skip):
                self._dropped.labels(skip.value).inc()
            case events.Lost(reason=loss):
                self._dropped.labels(loss.value).inc()
            case events.Encoded():
                level = str(event.level)
                self._encode.labels(level).observe(event.encode_seconds)
                self._size.labels(level).observe(event.bitstream_bytes)
                self._probes.inc(event.probe)
            case events.Sent():
                (self._resent if event.resent else self._sent).inc()
                self._credit_wait.observe(event.credit_wait_seconds)
            case events.Acked():
                self._ack.labels(event.stage.value).observe(event.since_sent_seconds)
            case events.Detected():
                self._latency.observe(event.latency_seconds)
                self._detections.inc(len(event.detections))
            case events.LinkTraffic():
                self._traffic.labels("sent").inc(event.sent_bytes)
                self._traffic.labels("received").inc(event.received_bytes)
            case events.Nacked():
                self._nacks.labels(event.reason).inc()
            case events.Refetched():
                self._refetches.labels("sent").inc()
            case events.RefetchRefused():
                self._refetches.labels("refused").inc()
            case events.LinkChanged():
                self._link_changes.labels(event.state.value).inc()
                self._link_up.set(event.state is events.LinkState.UP)
            case events.CameraChanged():
                self._camera_up.set(event.state is events.CameraState.UP)
                self._camera_losses.inc(event.state is events.CameraState.LOST)
            case events.SpoolChanged():
                self._spool_up.set(event.is_up)
            case events.Spooled():
                self._spooled.inc()
            case events.Backfilled():
                self._backfilled.inc()
            case events.GapRecorded():
                self._gaps.labels(event.gap.reason.value).inc()
            case events.ClockStepped():
                self._clock_steps.inc()


def _counts(metric: MetricWrapperBase) -> dict[str, int]:
    """How often it was counted or observed, by its one label."""
    return {
        "".join(sample.labels.values()): int(sample.value)
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(("_total", "_count"))
    }
