"""Which (level, quality) the next frame gets, or none: pure, and the same for the same history.

    acks, encode times, sizes -> beliefs (estimate.py) ─┐
    ledger -> LinkView: exact backlog ──────────────────┼─> prediction per point -> feasible -> best
    age and pixels of the newest frame ─────────────────┘

Predicted latency of a point, two queues in a row, each draining while the step before it runs:

    leaves_edge = max(encode, backlog / rate)
    arrives     = leaves_edge + bytes / rate
    detected    = max(arrives, undetected * service) + service
    latency     = age + detected + round trip

The best of the feasible points is the smallest of those whose utility is within 0.01 of the
highest: bits that buy the machine nothing are left to the day when a person asks for the picture.
If none is feasible, the frame is skipped, unless the link is idle: then the smallest point goes as
a probe, because a link of which nothing is asked teaches nothing. In simulation that rule mattered
more than the estimator: 36 % late frames without skipping, 4 % with it, and a starved estimator
without the probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimcontrol.budget import BURST_SECONDS, BudgetView
from slimcontrol.estimate import CloudService, ContentFactor, EncodeTime, LinkRate, RoundTrip
from slimcontrol.link import NO_LINK, LinkView, SentFrame
from slimcontrol.point import OperatingPoint
from slimcontrol.policy import Decision, Offer, Verdict, WaitReason

GOOD_ENOUGH = 0.01  # of utility; measured utility is mAP50 relative to the uncompressed picture

_DEADLINE_SHARE = 0.95  # of the deadline may be planned
_LINK_QUEUE_SHARE = 0.5  # of the deadline may be backlog on the link
_CLOUD_QUEUE_SHARE = 0.25  # of the deadline may be waiting in the cloud
_UNKNOWN_CLOUD_FRAMES = 4  # may be on their way until the cloud's first result is here
_FRAME_SHARE = 0.95  # of the time between frames may be encoding
_SLACK = 0.6  # how far above the link's rate an empty backlog may go
_NO_DEADLINE_SECONDS = 10.0  # keeps queues finite where there is no deadline


@dataclass(frozen=True, slots=True)
class _Prediction:
    point: OperatingPoint
    size_bytes: float
    encode_seconds: float
    transfer_seconds: float
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class _LastAck:
    arrival: float  # here, monotonic seconds
    server_time: float  # seconds
    bytes_total: int


class Controller:
    """Chooses operating points for one camera.

    Args:
        points: What may be chosen, see `slimcontrol.point`.
        encode_seconds_per_pixel: First guess per level; corrected by measurement.
        deadline_seconds: Capture to detection; None for no deadline.
        frame_seconds: Shortest time between two frames.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        encode_seconds_per_pixel: Mapping[int, float],
        *,
        deadline_seconds: float | None,
        frame_seconds: float,
    ) -> None:
        self._all_points = self._points = tuple(points)
        self._smallest = min(self._points, key=lambda point: point.bpp)
        self._deadline = deadline_seconds or _NO_DEADLINE_SECONDS
        self._frame_seconds = frame_seconds
        self._bpp = {(point.level, point.quality): point.bpp for point in self._points}
        self.rate = LinkRate()
        self.round_trip = RoundTrip()
        self.content = ContentFactor()
        self.encode_time = EncodeTime(dict(encode_seconds_per_pixel))
        self.service = CloudService()
        self._last_ack: _LastAck | None = None

    def limit_level(self, max_level: int | None) -> None:
        """Choose among the levels up to `max_level` only, as the cloud asks; None: among all.

        Where a person allows none of those, the person's choice stands.
        """
        limited = tuple(p for p in self._all_points if max_level is None or p.level <= max_level)
        self._points = limited or self._all_points
        self._smallest = min(self._points, key=lambda point: point.bpp)

    def decide(self, offer: Offer) -> Decision:
        """Choose for the newest frame, or let it wait; see `slimcontrol.policy`."""
        link, rate = offer.link, self._rate(offer.link)
        predictions = [
            self._predict(p, offer.age_seconds, offer.pixels, link, rate) for p in self._points
        ]
        smallest = next(p for p in predictions if p.point is self._smallest)
        if link.paused:
            return _wait(smallest, WaitReason.CLOUD_FULL)
        if not offer.budget.is_open:
            return _wait(smallest, WaitReason.BUDGET)
        feasible = [
            p
            for p in predictions
            if self._is_feasible(p, link, rate) and self._is_affordable(p, offer.budget)
        ]
        if feasible:
            return _decision(Verdict.BEST, _best(feasible))
        if link.idle:
            return _decision(Verdict.PROBE, smallest)
        return _wait(smallest, WaitReason.INFEASIBLE)

    def decide_for_later(self, pixels: int) -> Decision:
        """Choose for a frame that nobody waits for: only its worth counts, and its bytes."""
        predictions = [self._predict(p, 0.0, pixels, NO_LINK, self.rate.safe) for p in self._points]
        return _decision(Verdict.BEST, _best(predictions))

    def on_encoded(
        self, level: int, quality: float, pixels: int, size_bytes: int, seconds: float
    ) -> None:
        """Learn from one encoded frame."""
        self.content.add(size_bytes, self._bpp[level, quality] * pixels / 8)
        self.encode_time.add(level, pixels, seconds)

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn the link's rate from the acknowledgement of a frame that has just arrived.

        Args:
            now: Monotonic clock of this machine, seconds.
            frame: What was acknowledged.
            server_time: Monotonic clock of the server when it had the frame, seconds.
            received_bytes_total: Container bytes that the server had by then.
        """
        if frame.sent_at is None:
            return
        delay = now - frame.sent_at
        shortest = self.round_trip.minimum
        last, self._last_ack = self._last_ack, _LastAck(now, server_time, received_bytes_total)
        # Sent more than a round trip before the last ack came: the frame before it had not yet
        # passed the link, so this one stood behind it and the server saw the link's own pace.
        if frame.behind and last is not None and last.arrival - frame.sent_at > shortest:
            self.rate.add_queued(
                received_bytes_total - last.bytes_total, server_time - last.server_time
            )
        elif delay > shortest > 0:
            self.rate.add_alone(frame.size_bytes, delay - shortest)
        else:
            self.rate.add_bound(frame.size_bytes, delay)
        self.round_trip.add(now, delay)

    def on_detected(self, received: float, detected: float) -> None:
        """Learn what a frame costs the cloud; both times on the server's monotonic clock."""
        self.service.add(received, detected)

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """A new stream: the link may be another, and so may the server's clock.

        Args:
            now: Monotonic clock of this machine, seconds.
            round_trip_seconds: From Hello to Welcome; small messages, so nearly a pure round trip.
        """
        self._last_ack = None
        self.rate.doubt()
        self.round_trip = RoundTrip()
        self.round_trip.add(now, round_trip_seconds)
        self.service.reconnect()

    def _rate(self, link: LinkView) -> float:
        """Bytes per second to plan with; less while acknowledgements are overdue."""
        rate = self.rate.safe
        expected = self.round_trip.minimum + link.in_flight_bytes / rate
        overdue = link.oldest_in_flight_seconds
        return rate * expected / overdue if overdue > expected > 0 else rate

    def _predict(
        self, point: OperatingPoint, age: float, pixels: int, link: LinkView, rate: float
    ) -> _Prediction:
        size_bytes = point.bpp * pixels / 8 * self.content.safe
        encode = self.encode_time.safe(point.level, pixels)
        transfer = size_bytes / rate
        service = self.service.seconds
        arrives = max(encode, link.in_flight_bytes / rate) + transfer
        detected = max(arrives, link.undetected_frames * service) + service
        latency = age + detected + self.round_trip.minimum
        return _Prediction(point, size_bytes, encode, transfer, latency)

    def _is_feasible(self, prediction: _Prediction, link: LinkView, rate: float) -> bool:
        backlog = link.in_flight_bytes / rate
        link_queue_limit = _LINK_QUEUE_SHARE * self._deadline
        in_time = (
            prediction.latency_seconds <= _DEADLINE_SHARE * self._deadline
            and backlog <= link_queue_limit
            and link.undetected_frames * self.service.seconds <= _CLOUD_QUEUE_SHARE * self._deadline
            and (self.service.is_known or link.undetected_frames < _UNKNOWN_CLOUD_FRAMES)
        )
        fits = prediction.size_bytes <= min(link.credit_bytes, link.max_frame_bytes)
        if not (in_time and fits):
            return False
        if prediction.point is self._smallest:
            return True  # below it there is only a lower frame rate
        slack = 1 + _SLACK * max(0.0, 1 - backlog / link_queue_limit)
        return (
            prediction.encode_seconds <= _FRAME_SHARE * self._frame_seconds
            and prediction.transfer_seconds <= slack * self._frame_seconds
        )

    def _is_affordable(self, prediction: _Prediction, budget: BudgetView) -> bool:
        """Whether the budget lasts, at the full rate of pictures and with this point."""
        if prediction.point is self._smallest:
            return True
        slack = 1 + _SLACK * max(0.0, 1 - budget.backlog_seconds / BURST_SECONDS)
        return prediction.size_bytes <= slack * budget.bytes_per_second * self._frame_seconds


def _best(predictions: Sequence[_Prediction]) -> _Prediction:
    """The smallest of those that are nearly worth the most."""
    highest = max(p.point.utility for p in predictions)
    enough = [p for p in predictions if p.point.utility >= highest - GOOD_ENOUGH]
    return min(enough, key=lambda p: (p.size_bytes, -p.point.utility))


def _decision(verdict: Verdict, prediction: _Prediction) -> Decision:
    return Decision(
        verdict,
        prediction.point,
        round(prediction.size_bytes),
        prediction.latency_seconds,
    )


def _wait(smallest: _Prediction, reason: WaitReason) -> Decision:
    size_bytes, seconds = round(smallest.size_bytes), smallest.latency_seconds
    return Decision(Verdict.SKIP, None, size_bytes, seconds, reason)
