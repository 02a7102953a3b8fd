"""The wall clock, watched against the monotonic one: when somebody sets it, that is seen.

A clock is corrected by slewing, which is followed, or by setting it. After a step the capture times
go on from the new time: it is the right one, more often than not. Where it went back they would lie
among older ones, so the step is told and becomes a record of its own at the cloud; the sequence
gives the true order always. Suspending the machine looks like a step forward, and is one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

STEP_SECONDS = 0.5  # a correction of at least this is a step; NTP sets the clock from 0.128 s on

_TICK_SECONDS = 1e-6  # least time between two readings, for the wire counts microseconds


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment."""

    unix: float  # seconds; above the reading before, unless the clock was set in between
    mono: float  # seconds
    expected_unix: float | None = None  # after a step: what the wall clock would have shown


class WallClock:
    """Reads both clocks; not thread-safe."""

    def __init__(
        self, unix: Callable[[], float] = time.time, mono: Callable[[], float] = time.monotonic
    ) -> None:
        self._unix = unix
        self._mono = mono
        self._last: Reading | None = None

    def read(self) -> Reading:
        """Read both clocks; small steps back are levelled out, larger ones are told."""
        unix, mono, last = self._unix(), self._mono(), self._last
        if last is None:
            self._last = Reading(unix, mono)
            return self._last
        expected = last.unix + (mono - last.mono)
        if abs(unix - expected) >= STEP_SECONDS:
            self._last = Reading(unix, mono, expected)
        else:
            self._last = Reading(max(unix, last.unix + _TICK_SECONDS), mono)
        return self._last
