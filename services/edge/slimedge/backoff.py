"""How long to wait before trying again.

Source: "Exponential Backoff and Jitter", full jitter,
https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from random import Random

_GROWTH = 2.0  # of the bound, per failed attempt


class FullJitter:
    """Uniform waits in [0, bound], the bound doubling from `first_seconds` to `last_seconds`."""

    def __init__(self, first_seconds: float, last_seconds: float, random: Random) -> None:
        self._first = first_seconds
        self._last = last_seconds
        self._random = random
        self._bound = first_seconds

    def next_seconds(self) -> float:
        """Draw the next wait and double the bound."""
        wait = self._random.uniform(0, self._bound)
        self._bound = min(self._last, self._bound * _GROWTH)
        return wait

    def reset(self) -> None:
        """Begin again from the first bound: an attempt succeeded."""
        self._bound = self._first
