"""How much a figure depends on the pictures that happened to be there.

A bootstrap: the pictures are drawn anew, as many, with replacement, and the figure is computed of
each draw; the middle 95 % of the results are its interval. All operating points see the same draws,
so differences between them are paired: a picture that is hard for all codecs cancels out.

Source: Efron and Tibshirani: An Introduction to the Bootstrap, 1993, section 13.3 (percentiles).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS = 200
SEED = 20230327
COVERAGE = 0.95

# (draws, pictures): how often each picture occurs; row 0 has every picture once
Draws = NDArray[np.float64]


class Interval(NamedTuple):
    """Where a figure lies in the middle 95 % of the draws."""

    low: float
    high: float


def draw_pictures(num_pictures: int, num_draws: int = NUM_DRAWS) -> Draws:
    """The pictures themselves, then `num_draws` draws of them; the same on every run."""
    rng = np.random.default_rng(SEED)
    shares = np.full(num_pictures, 1 / num_pictures)
    drawn = rng.multinomial(num_pictures, shares, size=num_draws)
    return np.concatenate([np.ones((1, num_pictures)), drawn])


def interval(drawn: Draws | Sequence[float | None]) -> Interval | None:
    """The interval of draws (None or NaN: no figure); None where over a tenth of them are none."""
    values = np.asarray(drawn, np.float64)
    there = values[~np.isnan(values)]
    if len(there) < 0.9 * len(values):
        return None
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return Interval(float(low), float(high))
