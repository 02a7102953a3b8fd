"""Waits between attempts."""

from __future__ import annotations

from random import Random

from slimedge.backoff import FullJitter


class Largest(Random):
    """Draws the bound itself."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_bound_doubles_up_to_the_last_and_starts_again() -> None:
    backoff = FullJitter(0.5, 3.0, Largest())

    assert [backoff.next_seconds() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_seconds() == 0.5


def test_waits_are_spread_over_the_whole_range() -> None:
    backoff = FullJitter(1.0, 1.0, Random(1))

    waits = [backoff.next_seconds() for _ in range(200)]

    assert min(waits) < 0.1
    assert 0.9 < max(waits) <= 1.0
