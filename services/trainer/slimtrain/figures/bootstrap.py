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

from slimtrain.figures.mean_average_precision import ClassMatches

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


def mean_ap50(matches: Sequence[ClassMatches], draws: Draws, min_labels: int = 1) -> Draws:
    """mAP50 of each draw, over the classes that occur in it: (draws,).

    Args:
        min_labels: only classes with so many labels in all pictures.
    """
    chosen = [m for m in matches if m.num_labels.sum() >= min_labels]
    if not chosen:
        return np.full(len(draws), np.nan)
    ap = np.stack([m.average_precision(draws) for m in chosen])  # (classes, draws)
    occurs = ~np.isnan(ap)
    mean: Draws = np.where(occurs, ap, 0).sum(axis=0) / np.maximum(occurs.sum(axis=0), 1)
    return mean


def interval(drawn: Draws | Sequence[float | None]) -> Interval | None:
    """The interval of a figure's draws (None or NaN: no figure); None where more than a tenth of
    them gave none.
    """
    values = np.asarray(drawn, np.float64)
    there = values[~np.isnan(values)]
    if len(there) < 0.9 * len(values):
        return None
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return Interval(float(low), float(high))
