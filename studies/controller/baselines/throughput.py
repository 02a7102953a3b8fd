"""Bytes per second of the link, one sample for each acknowledged frame.

    seconds on the link = min(server's time since the frame before, delay less the round trip)

Both are upper bounds of it: the first holds the time in which nothing was sent, the second the time
behind other frames. One of the two is exact whenever a frame was either alone or right behind.
"""

from __future__ import annotations

import math
from collections import deque

from slimcontrol.link import SentFrame

_KEPT = 20  # samples
_SHORTEST = 1e-3  # seconds; below, a clock's grain decides
FIRST_RATE = 62_500.0  # bytes per second until something is known, as in the controller


class Throughput:
    """The last samples, and the shortest round trip."""

    def __init__(self) -> None:
        self.samples: deque[float] = deque(maxlen=_KEPT)  # bytes per second
        self.round_trip = math.inf  # seconds
        self._last: float | None = None  # server's time

    def connect(self, round_trip_seconds: float) -> None:
        """A new stream: the server's clock may be another."""
        self.round_trip = round_trip_seconds
        self._last = None

    def add(self, now: float, frame: SentFrame, server_time: float) -> None:
        """Learn from one acknowledgement; see `simulation.policy.Policy`."""
        if frame.sent_at is None:
            return
        delay = now - frame.sent_at
        self.round_trip = min(self.round_trip, delay)
        seconds = delay - self.round_trip
        if self._last is not None:
            seconds = min(seconds, server_time - self._last)
        self._last = server_time
        self.samples.append(frame.size_bytes / max(seconds, _SHORTEST))

    def harmonic_mean(self, count: int) -> float:
        """Bytes per second over the last `count` samples: total time for equal shares of bytes.

        Source: Jiang, Sekar and Zhang, Improving Fairness, Efficiency, and Stability in HTTP-based
        Adaptive Video Streaming with FESTIVE (CoNEXT 2012): the bandwidth estimator.
        """
        last = list(self.samples)[-count:]
        return len(last) / sum(1 / sample for sample in last) if last else FIRST_RATE
