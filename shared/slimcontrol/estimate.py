"""What the controller believes about the link, the encoder and the cloud; all of it from samples.

Rates and sizes spread over orders of magnitude, so they are averaged as logarithms. Nothing here
reads a clock: every time is an argument, so the same samples always give the same beliefs.
"""

from __future__ import annotations

import math

# Chosen on recorded 3G, LTE and broadband links, see docs/develop/controller.md.
_RATE_FALL = 0.7  # weight of a sample below the mean
_RATE_RISE = 0.8  # weight of a sample above it: after a hole the link is soon what it was
_RATE_VARIANCE_WEIGHT = 0.15
_PLAN_SAFETY = 0.5  # standard deviations (of the logarithm) below the mean: to fill the link
_LATE_SAFETY = 1.2  # the same: to be in time
_RATE_VARIANCE_FLOOR = 0.015  # a link that was steady for a second may be another in the next
_RATE_VARIANCE_CEILING = 0.25  # one hole must not make the link's later rates look unsure for long
_FIRST_RATE = 62_500.0  # bytes per second (0.5 Mbit/s) until something is known
_FIRST_VARIANCE = 0.25
_RATE_LIMITS = (125.0, 1.25e9)  # bytes per second: 1 kbit/s to 10 Gbit/s
_SHORTEST_TRANSFER = 0.001  # seconds; below, the clock's grain and scheduling decide
_JITTER_SECONDS = 0.02  # a delay within this says nothing against the rate

_BYTES_WEIGHT = 0.1
_BYTES_SAFETY = 0.7
_ENCODE_WEIGHT = 0.2
_ENCODE_MARGIN = 1.15  # over the mean
_SERVICE_WEIGHT = 0.2


class LinkRate:
    """Bytes per second that the link carries: an asymmetric mean of the logarithm."""

    def __init__(self) -> None:
        self._mean = math.log(_FIRST_RATE)
        self._variance = _FIRST_VARIANCE
        self._is_known = False

    @property
    def mean(self) -> float:
        """Bytes per second, the middle of the belief."""
        return math.exp(self._mean)

    @property
    def safe(self) -> float:
        """Bytes per second to fill the link with."""
        return math.exp(self._mean - _PLAN_SAFETY * self._deviation)

    @property
    def sure(self) -> float:
        """Bytes per second that a promise may rest on: seldom is the link slower."""
        return math.exp(self._mean - _LATE_SAFETY * self._deviation)

    @property
    def _deviation(self) -> float:
        return math.sqrt(self._variance + _RATE_VARIANCE_FLOOR)

    def add_queued(self, size_bytes: int, gap_seconds: float) -> None:
        """Learn from a frame that stood in line behind another: it took exactly the gap."""
        self._learn(size_bytes / max(gap_seconds, _SHORTEST_TRANSFER))

    def add_alone(self, size_bytes: int, excess_seconds: float) -> None:
        """Learn from a frame that found the link idle.

        A delay beyond the round trip that is within jitter says only that the link is at least fast
        enough for that: a small frame's exact rate would be the machine's, and far too high.
        """
        if excess_seconds > _JITTER_SECONDS:
            self._learn(size_bytes / excess_seconds)
        else:
            self.add_bound(size_bytes, _JITTER_SECONDS)

    def add_bound(self, size_bytes: int, delay_seconds: float) -> None:
        """Learn that the link is at least this fast: the delay holds a round trip, too."""
        rate = size_bytes / max(delay_seconds, _SHORTEST_TRANSFER)
        if rate >= self.mean:
            self._learn(rate)

    def doubt(self) -> None:
        """Be less sure, after a reconnect: the path may be another."""
        self._variance = max(2 * self._variance, _FIRST_VARIANCE)

    def _learn(self, rate: float) -> None:
        low, high = _RATE_LIMITS
        value = math.log(min(high, max(low, rate)))
        if not self._is_known:  # begin here: the first guess knows nothing of this link
            self._mean = value
        distance = value - self._mean
        self._mean += (_RATE_FALL if distance < 0 else _RATE_RISE) * distance
        # Only what falls short of the mean is a risk; a link that grows faster is none.
        shortfall = min(0.0, distance)
        variance = (1 - _RATE_VARIANCE_WEIGHT) * (
            self._variance + _RATE_VARIANCE_WEIGHT * shortfall**2
        )
        self._variance = min(variance, _RATE_VARIANCE_CEILING)
        self._is_known = True


class RoundTrip:
    """The shortest acknowledgement time of a stream, seconds; the stream's greeting is the first.

    It is never forgotten while the stream lasts: on a slow link every later ack waits for a frame's
    own bytes. Within a window of a minute these became the round trip, and the link's rate, which
    is what goes beyond it, was believed twenty times too high.
    """

    def __init__(self) -> None:
        self._minimum: float | None = None

    def add(self, seconds: float) -> None:
        self._minimum = seconds if self._minimum is None else min(self._minimum, seconds)

    @property
    def minimum(self) -> float:
        """Seconds; 0 until something is known."""
        return self._minimum or 0.0


class ContentFactor:
    """How many times the expected bytes a picture of this scene takes."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._variance = 0.0
        self._is_known = False

    @property
    def safe(self) -> float:
        """The multiplier to plan with."""
        return math.exp(self._mean + _BYTES_SAFETY * math.sqrt(self._variance))

    def add(self, real_bytes: int, expected_bytes: float) -> None:
        distance = math.log(max(1, real_bytes) / expected_bytes) - self._mean
        if not self._is_known:  # the profile's scene is not this scene: begin here
            self._mean += distance
        else:
            self._mean += _BYTES_WEIGHT * distance
            self._variance = (1 - _BYTES_WEIGHT) * (self._variance + _BYTES_WEIGHT * distance**2)
        self._is_known = True


class EncodeTime:
    """Seconds per pixel to encode at each level, measured on this device as it goes.

    A level that has not run yet is judged by its first guess and by how the others fared.
    """

    def __init__(self, seconds_per_pixel: dict[int, float]) -> None:
        """Args: seconds_per_pixel: the first guess for every level."""
        self._guess = dict(seconds_per_pixel)
        self._measured: dict[int, float] = {}

    def safe(self, level: int, pixels: int) -> float:
        """Seconds to plan with."""
        return _ENCODE_MARGIN * self._per_pixel(level) * pixels

    def add(self, level: int, pixels: int, seconds: float) -> None:
        sample = seconds / pixels
        mean = self._measured.get(level, sample)
        self._measured[level] = mean + _ENCODE_WEIGHT * (sample - mean)

    def _per_pixel(self, level: int) -> float:
        if level in self._measured:
            return self._measured[level]
        ratios = [value / self._guess[known] for known, value in self._measured.items()]
        return self._guess[level] * (sum(ratios) / len(ratios) if ratios else 1.0)


class CloudService:
    """Seconds between two results of a busy cloud: what a frame in its queue costs."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._last_detected = -math.inf  # server's clock, seconds

    @property
    def is_known(self) -> bool:
        """Whether there was a result."""
        return self._mean is not None

    @property
    def seconds(self) -> float:
        """0 until something is known."""
        return self._mean or 0.0

    def add(self, received: float, detected: float) -> None:
        """Learn from one result; both times on the server's monotonic clock, seconds."""
        sample = max(0.0, detected - max(received, self._last_detected))
        self._last_detected = max(self._last_detected, detected)
        if self._mean is None:
            self._mean = sample
        else:
            self._mean += _SERVICE_WEIGHT * (sample - self._mean)

    def reconnect(self) -> None:
        """Forget the server's clock: another server may answer."""
        self._last_detected = -math.inf
