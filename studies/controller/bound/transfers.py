"""Many transfers over a trace at once: when each, alone on the link, has passed."""

from __future__ import annotations

import numpy as np

from slimlinks.trace import Trace
from studies.controller.bound.frontier import Floats


def finish_all(trace: Trace, start: Floats, size_bytes: Floats) -> Floats:
    """`Trace.finish` of many transfers, each alone on the link; arrays of one shape, sizes > 0."""
    times, rates = np.asarray(trace.times), np.asarray(trace.bytes_per_second)
    areas = rates * np.diff(times, append=trace.seconds)
    passed = np.cumsum(np.concatenate(([0.0], areas)))
    total = passed[-1]
    if total == 0:
        return np.full(np.broadcast(start, size_bytes).shape, np.inf)
    laps, at = np.divmod(start, trace.seconds)
    piece = np.searchsorted(times, at, side="right") - 1
    until = laps * total + passed[piece] + (at - times[piece]) * rates[piece]
    laps, rest = np.divmod(until + size_bytes, total)
    whole = rest == 0
    laps, rest = laps - whole, np.where(whole, total, rest)
    piece = np.searchsorted(passed, rest, side="left") - 1
    end = laps * trace.seconds + times[piece] + (rest - passed[piece]) / rates[piece]
    arrived: Floats = np.maximum(start, end)
    return arrived
