"""The hull of utility over bytes holds what any price of a byte could choose."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.point import GOOD_ENOUGH, OperatingPoint, build_frontier
from support.edge.controlled import POINTS

points = st.lists(
    st.builds(
        OperatingPoint,
        level=st.integers(0, 3),
        quality=st.integers(0, 5).map(float),
        bpp=st.floats(0.05, 3),
        utility=st.floats(0.01, 1),
    ),
    min_size=1,
    max_size=24,
)


@given(points, st.floats(0, 30))
def test_no_point_is_worth_more_at_any_price(points: list[OperatingPoint], price: float) -> None:
    frontier = build_frontier(points)

    best = max(p.utility - price * p.bpp for p in points)
    kept = max(p.utility - price * p.bpp for p in frontier.points[frontier.knee :])
    assert best <= 0 or kept >= best - GOOD_ENOUGH - 1e-9


@given(points)
def test_each_further_byte_buys_less(points: list[OperatingPoint]) -> None:
    frontier = build_frontier(points)

    kept = frontier.points
    assert all(a.bpp < b.bpp and a.utility < b.utility for a, b in pairwise(kept))
    hull = kept[frontier.knee :]
    slopes = [(b.utility - a.utility) / (b.bpp - a.bpp) for a, b in pairwise(hull)]
    assert all(a > b for a, b in pairwise([hull[0].utility / hull[0].bpp + 1e-9, *slopes]))


@given(points, st.floats(0, 0.5))
def test_no_point_is_dearer_than_the_price(points: list[OperatingPoint], price: float) -> None:
    free, priced = build_frontier(points), build_frontier(points, price)

    assert priced.points == free.points[: len(priced.points)]
    hull = priced.points[priced.knee :]
    for a, b in list(pairwise(hull))[-1:]:
        assert b.utility - a.utility >= price * math.log(b.bpp / a.bpp) - 1e-9


@given(points)
def test_the_smallest_point_is_kept_for_the_shortest_deadlines(
    points: list[OperatingPoint],
) -> None:
    frontier = build_frontier(points)

    assert frontier.points[0].bpp == min(p.bpp for p in points)


def test_the_points_of_a_codec_that_are_worth_their_bytes() -> None:
    frontier = build_frontier(POINTS)

    chosen = [(p.level, p.quality) for p in frontier.points]
    assert chosen == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (3, 5)]
    assert frontier.knee == 0
