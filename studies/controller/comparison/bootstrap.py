"""How much a mean over links depends on which links happened to be recorded.

The links are drawn anew, as many, with replacement; the middle 95 % of what the draws give is the
interval. All policies see the same draws, so that a difference of two of them is paired: a link
that is hard for everybody cancels out. Says nothing of links of another kind.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3 (percentiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS = 1000
SEED = 20230327
COVERAGE = 0.95


class Estimate(NamedTuple):
    """A figure and where the middle 95 % of the draws have it."""

    value: float
    low: float
    high: float


def draw_links(count: int, num_draws: int = NUM_DRAWS, seed: int = SEED) -> NDArray[np.float64]:
    """How often each of `count` links occurs: (draws + 1, count); row 0 has each once."""
    shares = np.full(count, 1 / count)
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=num_draws)
    return np.concatenate([np.ones((1, count)), drawn])


def estimate_mean(values: Sequence[float], num_draws: int = NUM_DRAWS) -> Estimate:
    """Mean over links."""
    return estimate_ratio(values, [1.0] * len(values), num_draws)


def estimate_ratio(
    values: Sequence[float], references: Sequence[float], num_draws: int = NUM_DRAWS
) -> Estimate:
    """Sum over links over the sum of a reference of the same links; NaN where that is 0."""
    if not values:
        return Estimate(np.nan, np.nan, np.nan)
    draws = draw_links(len(values), num_draws)
    above, below = draws @ np.asarray(values, float), draws @ np.asarray(references, float)
    ratios = np.divide(above, below, out=np.full(len(draws), np.nan), where=below != 0)
    if np.isnan(ratios[0]):
        return Estimate(np.nan, np.nan, np.nan)
    tail = (1 - COVERAGE) / 2
    low, high = np.nanquantile(ratios[1:], [tail, 1 - tail])
    return Estimate(float(ratios[0]), float(low), float(high))
