"""A recorded link: how many bytes per second it carried, when; and after its end again.

    rate, bytes/s   ┌──┐
                ┌───┘  │     ┌────       constant between two times, zero allowed
            ────┘      └─────┘
                0  t1  t2    t3   seconds

What has passed until t is the area under it, so the end of a transfer is found by one search in
the areas, exactly, with no steps of time. Two ways to write one down are read, see `trace_file`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from slimlinks.errors import TraceError


@dataclass(frozen=True, slots=True)
class Trace:
    """Bytes per second over time, piecewise constant; repeats after `seconds`.

    Raises:
        TraceError: the times do not rise from 0, or a rate is no number of bytes per second.
    """

    name: str  # of the file
    family: str  # of its folder
    times: tuple[float, ...]  # where each piece begins, seconds; the first is 0
    bytes_per_second: tuple[float, ...]  # of each piece
    seconds: float  # where the last piece ends and the first begins again
    _passed: tuple[float, ...] = field(init=False, repr=False, compare=False)  # bytes at `times`
    _total: float = field(init=False, repr=False, compare=False)  # bytes of one round

    def __post_init__(self) -> None:
        edges = (*self.times, self.seconds)
        if len(self.times) != len(self.bytes_per_second) or not self.times or self.times[0] != 0:
            raise TraceError(f"trace {self.name}: as many rates as times are needed, from time 0")
        if not all(a < b for a, b in zip(edges, edges[1:], strict=False)):
            raise TraceError(f"trace {self.name}: times must rise")
        if not all(0 <= rate < math.inf for rate in self.bytes_per_second):
            raise TraceError(f"trace {self.name}: rates must be 0 or more bytes per second")
        areas = (
            rate * (end - start)
            for start, end, rate in zip(edges, edges[1:], self.bytes_per_second, strict=False)
        )
        passed = tuple(accumulate(areas, initial=0.0))
        object.__setattr__(self, "_passed", passed)
        object.__setattr__(self, "_total", passed[-1])

    @property
    def mean(self) -> float:
        """Bytes per second over one round."""
        return self._total / self.seconds

    def rate_at(self, t: float) -> float:
        """Bytes per second at a time, seconds."""
        return self.bytes_per_second[bisect_right(self.times, t % self.seconds) - 1]

    def bytes_between(self, start: float, end: float) -> float:
        """Bytes that can pass between two times, seconds."""
        return self._passed_until(end) - self._passed_until(start)

    def finish(self, start: float, size_bytes: float) -> float:
        """When the last of so many bytes has passed that may begin at `start`, seconds.

        Infinity if the link never carries anything.
        """
        if size_bytes <= 0:
            return start
        if self._total == 0 or start == math.inf:
            return math.inf
        laps, rest = divmod(self._passed_until(start) + size_bytes, self._total)
        if rest == 0:  # the earliest time: before whatever hole ends the round
            laps, rest = laps - 1, self._total
        piece = bisect_left(self._passed, rest) - 1
        into = (rest - self._passed[piece]) / self.bytes_per_second[piece]
        return max(start, laps * self.seconds + self.times[piece] + into)

    def _passed_until(self, t: float) -> float:
        laps, at = divmod(t, self.seconds)
        piece = bisect_right(self.times, at) - 1
        into = (at - self.times[piece]) * self.bytes_per_second[piece]
        return laps * self._total + self._passed[piece] + into


def constant_trace(bytes_per_second: float) -> Trace:
    """Give a link that never changes."""
    name = f"constant {bytes_per_second:g} B/s"
    return Trace(name, "constant", (0.0,), (float(bytes_per_second),), 1.0)
