"""How long to wait before trying again.

Source: "Exponential Backoff and Jitter", full jitter,
https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from dataclasses import dataclass, field
from random import Random

_GROWTH = 2.0  # of the bound, per failed attempt


@dataclass
class FullJitter:
    """Uniform waits in [0, bound], the bound doubling from `first_seconds` to `last_seconds`."""

    first_seconds: float
    last_seconds: float
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._bound = self.first_seconds

    def next_seconds(self) -> float:
        """Draw the next wait and double the bound."""
        wait = self.random.uniform(0, self._bound)
        self._bound = min(self.last_seconds, self._bound * _GROWTH)
        return wait

    def reset(self) -> None:
        """Begin again from the first bound: an attempt succeeded."""
        self._bound = self.first_seconds
