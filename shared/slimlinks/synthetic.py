"""Links of our own making, for where no recorded one is at hand: small, and each shows one thing.

    steps   20 s each of 1.6, 0.4, 0.1, 0.4 Mbit/s: which point fits which rate
    hole    0.8 Mbit/s, and every 20 s nothing for 4 s: what a deaf controller does
    drive   a minute's drive: 0.05 to 3 Mbit/s, a new rate every half second, with 2 s in a tunnel

They repeat after their end. None was recorded; no result is reported on them.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from slimlinks.trace import Trace

_FAMILY = "synthetic"
_MBIT = 1e6 / 8  # bytes per second
_DRIVE_SECONDS = 60.0
_DRIVE_STEP = 0.5  # seconds
_TUNNEL = (38.0, 40.0)  # seconds


def synthetic_traces() -> dict[str, Trace]:
    """All of them, by name."""
    pieces = {
        "steps": [(20.0, rate) for rate in (1.6, 0.4, 0.1, 0.4)],
        "hole": [(16.0, 0.8), (4.0, 0.0)],
        "drive": _drive(),
    }
    return {name: _trace(name, of_it) for name, of_it in pieces.items()}


def _drive() -> list[tuple[float, float]]:
    """A slow wave of the logarithm of the rate with noise on it; the same at every call."""
    random = Random(7)
    pieces, noise = [], 0.0
    for step in range(round(_DRIVE_SECONDS / _DRIVE_STEP)):
        start = step * _DRIVE_STEP
        noise = 0.8 * noise + random.gauss(0.0, 0.25)
        log_rate = math.log(0.5) + 1.2 * math.sin(2 * math.pi * start / 30.0) + noise
        rate = min(3.0, max(0.05, math.exp(log_rate)))
        pieces.append((_DRIVE_STEP, 0.0 if _TUNNEL[0] <= start < _TUNNEL[1] else rate))
    return pieces


def _trace(name: str, pieces: Sequence[tuple[float, float]]) -> Trace:
    """Give the trace of (seconds, Mbit/s) one after another."""
    *times, end = accumulate((seconds for seconds, _ in pieces), initial=0.0)
    rates = tuple(rate * _MBIT for _, rate in pieces)
    return Trace(name, _FAMILY, tuple(times), rates, end)
