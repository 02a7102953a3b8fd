"""The last minute of the edge: what was sent when, what the controller believed, what it skipped.

Fed by the edge's events, read by the charts. What is older than a minute is forgotten.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from slimedge.event import Captured, Detected, EdgeEvent, Encoded, Replaced, Skipped

WINDOW_SECONDS = 60.0
_KEPT_SECONDS = WINDOW_SECONDS + 5.0  # a little more than is drawn


@dataclass(slots=True)
class SentFrame:
    """One encoded frame."""

    captured_at: float  # the history's clock, seconds
    level: int
    quality: float
    latency_seconds: float | None = None  # capture to detection, once that is known


class History:
    """Watches the edge.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: OrderedDict[int, SentFrame] = OrderedDict()  # by sequence
        self._waiting: dict[int, float] = {}  # captured, and neither sent nor skipped: frame, time
        self.skipped: deque[float] = deque()  # when they were captured
        self.believed: deque[tuple[float, float]] = deque()  # time, bytes per second

    @property
    def sent(self) -> list[SentFrame]:
        """In order."""
        return list(self._sent.values())

    @property
    def now(self) -> float:
        """Seconds, on the same clock as all times here."""
        return self._clock()

    def notify(self, event: EdgeEvent) -> None:
        """Take one event of the edge."""
        now = self._clock()
        match event:
            case Captured():
                self._waiting[event.frame] = now
                self._forget(now - _KEPT_SECONDS)
            case Skipped() | Replaced():
                self.skipped.append(self._waiting.pop(event.frame, now))
            case Encoded():
                self._waiting.pop(event.frame, None)
                captured_at = now - event.encode_seconds - event.wait_seconds
                self._sent[event.sequence] = SentFrame(captured_at, event.level, event.quality)
                if event.link_bytes_per_second > 0:
                    self.believed.append((now, event.link_bytes_per_second))
            case Detected() if event.sequence in self._sent:
                self._sent[event.sequence].latency_seconds = event.latency_seconds
            case _:
                pass

    def _forget(self, before: float) -> None:
        while self.skipped and self.skipped[0] < before:
            self.skipped.popleft()
        while len(self.believed) > 1 and self.believed[1][0] < before:
            self.believed.popleft()  # the last one before the window still holds at its beginning
        while self._sent and next(iter(self._sent.values())).captured_at < before:
            self._sent.popitem(last=False)
