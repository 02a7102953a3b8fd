"""Curves of a figure over bits, and what two of them say about each other.

A measured mAP is noisy and need not grow with the rate. Everything here therefore works on a
curve's *front*: the points that no other point of the same curve beats in bits and figure at once.
The front of many noisy points is a little too good, and the more so the more points there are;
that is said wherever its numbers are shown. Between points the logarithm of the rate is
interpolated. Where two fronts share too little, there is a reason instead of a number.

Source: Bjontegaard: Calculation of average PSNR differences between RD-curves, VCEG-M33, 2001;
computed by the package `bjontegaard` with piecewise cubic (PCHIP) interpolation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import bjontegaard
import numpy as np

MIN_POINTS = 3  # a front of fewer points is no curve
# the part of the shorter front that two fronts must share in the figure, for a BD-rate
MIN_OVERLAP = 0.3


class CurvePoint(NamedTuple):
    """Bits per pixel (or another rate, if all curves have it) and a figure, better when higher."""

    bpp: float
    value: float


@dataclass(frozen=True)
class BdRate:
    """By how much the rate differs at equal figure, in percent, on average over what two curves
    share; None with a reason where they share too little.
    """

    percent: float | None
    reason: str = ""
    shared: tuple[float, float] | None = None  # the figure's range that it stands for


@dataclass(frozen=True)
class NeededRate:
    """What a curve needs for a figure; `is_at_most`: its cheapest point is better already."""

    bpp: float
    is_at_most: bool = False


def front(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that no other beats in both, by growing rate and figure."""
    kept: list[CurvePoint] = []
    for point in sorted(points, key=lambda p: (p.bpp, -p.value)):
        is_number = not (math.isnan(point.bpp) or math.isnan(point.value))
        if is_number and (not kept or point.value > kept[-1].value):
            kept.append(point)
    return kept


def bd_rate(anchor: Sequence[CurvePoint], test: Sequence[CurvePoint]) -> BdRate:
    """How much more (if negative, less) rate `test` needs than `anchor`, front against front."""
    fronts = front(anchor), front(test)
    shortest = min(len(points) for points in fronts)
    if shortest < MIN_POINTS:
        return BdRate(None, f"a front of {shortest}")
    low = max(points[0].value for points in fronts)
    high = min(points[-1].value for points in fronts)
    shorter = min(points[-1].value - points[0].value for points in fronts)
    if high <= low:
        return BdRate(None, "nothing shared")
    if high - low < MIN_OVERLAP * shorter:
        return BdRate(None, f"{(high - low) / shorter:.0%} shared")
    of_anchor, of_test = (np.asarray(points).T for points in fronts)  # rates, values
    percent = bjontegaard.bd_rate(
        *of_anchor, *of_test, method="pchip", require_matching_points=False, min_overlap=0
    )
    return BdRate(float(percent), shared=(low, high))


def needed_rate(points: Sequence[CurvePoint], value: float) -> NeededRate | None:
    """The rate at which a curve's front reaches a figure; None where it never does."""
    reached = front(points)
    if not reached or reached[-1].value < value:
        return None
    if reached[0].value >= value:
        return NeededRate(reached[0].bpp, is_at_most=reached[0].value > value)
    log_bpp = np.interp(value, [p.value for p in reached], [math.log(p.bpp) for p in reached])
    return NeededRate(math.exp(float(log_bpp)))


def saving_percent(ours: NeededRate | None, theirs: NeededRate | None) -> float | None:
    """What part of their rate we save, in percent; None where one of the two is not known.

    Where ours is an upper bound, so the saving is a lower one.
    """
    if ours is None or theirs is None or theirs.is_at_most:
        return None
    return 100 * (1 - ours.bpp / theirs.bpp)
