"""The operating points that a controller chooses from, and which of them are worth their bytes.

    utility
      ▲         ___o──────o      a point below the line between two others is never worth its
      │     _o──   x             bytes: time shared between those two gives more for the same
      │   _o    x
      │  o  x                    slope of the next piece = price of a byte at which it is bought
      └────────────────► bytes

The largest point on that hull of at most x bytes is argmax of utility - price * bytes, where the
price is the slope of the hull at x. Both ends of a piece are equally good at that price; the
cheaper one is taken. The link's backlog then falls and x rises with it, so that the two are mixed
as the link allows: the greedy solution of a fractional knapsack.

Source: Kellerer, Pferschy, Pisinger, "Knapsack Problems" (2004), section 11.2 (the linear
relaxation of the multiple-choice knapsack).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Against a reference a finer point costs more: of the noise, too, more differs then. On a street
# at 10 pictures/s levels 0 to 3 and qualities 0 to 3 take 1.46 times the difference in log bytes.
_INTER_EXPONENT = 1.45
GOOD_ENOUGH = 0.01  # of utility; measured utility is mAP50 relative to the uncompressed picture


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One action of the controller."""

    level: int
    quality: float
    bpp: float  # expected bits per pixel
    utility: float  # only the order and the differences matter


def inter_points(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Give the points as they are coded against a reference, but for a factor of the scene."""
    least = min(point.bpp for point in points)
    return tuple(
        replace(point, bpp=least * (point.bpp / least) ** _INTER_EXPONENT) for point in points
    )


@dataclass(frozen=True, slots=True)
class Frontier:
    """The points to choose from; bytes and utility rise."""

    points: tuple[OperatingPoint, ...]  # never empty
    knee: int  # index of the most utility per byte; before it: for deadlines that allow no more


def build_frontier(points: Sequence[OperatingPoint], price: float = 0.0) -> Frontier:
    """Keep the points on the hull, up to the first whose utility is nearly the highest.

    Bits that buy the machine nothing are left to the day when a person asks for the picture.

    Args:
        points: To choose from.
        price: Utility that e times the bytes must buy; dearer points above the knee are left out.
    """
    enough = max(point.utility for point in points) - GOOD_ENOUGH
    rising: list[OperatingPoint] = []
    for point in sorted(points, key=lambda point: (point.bpp, -point.utility)):
        if not rising or rising[-1].utility < min(enough, point.utility):
            rising.append(point)
    knee = max(rising, key=lambda point: point.utility / point.bpp)
    hull: list[OperatingPoint] = []
    for point in rising[rising.index(knee) :]:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    while len(hull) > 1 and _elasticity(hull[-2], hull[-1]) < price:
        hull.pop()
    before = rising[: rising.index(knee)]
    return Frontier((*before, *hull), len(before))


def _elasticity(start: OperatingPoint, end: OperatingPoint) -> float:
    """Utility that e times the bits buy, between two points."""
    return (end.utility - start.utility) / math.log(end.bpp / start.bpp)


def _slope(start: OperatingPoint, end: OperatingPoint) -> float:
    """Utility that one bit per pixel buys between two points."""
    return (end.utility - start.utility) / (end.bpp - start.bpp)
