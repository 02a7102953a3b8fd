"""The nearest grid that never falls."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.profile import smooth_monotone

NUMBERS = st.floats(-1, 2, allow_nan=False)
GRIDS = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
    lambda hw: st.lists(
        st.lists(NUMBERS, min_size=hw[1], max_size=hw[1]), min_size=hw[0], max_size=hw[0]
    )
)


def squared_distance(a: list[list[float]], b: list[list[float]]) -> float:
    return sum((x - y) ** 2 for r, s in zip(a, b, strict=True) for x, y in zip(r, s, strict=True))


@given(GRIDS)
def test_it_never_falls_and_keeps_the_mean(grid: list[list[float]]) -> None:
    smooth = smooth_monotone(grid)

    for row in smooth:
        assert all(a <= b for a, b in itertools.pairwise(row))
    for above, below in itertools.pairwise(smooth):
        assert all(a <= b for a, b in zip(above, below, strict=True))
    assert sum(map(sum, smooth)) == pytest.approx(sum(map(sum, grid)), abs=1e-4)


@given(GRIDS)
def test_what_never_falls_stays(grid: list[list[float]]) -> None:
    once = smooth_monotone(grid)

    assert squared_distance(smooth_monotone(once), once) < 1e-9


def test_neighbours_in_the_wrong_order_become_their_mean() -> None:
    assert smooth_monotone([[0.25, 0.75, 0.5, 1.0]]) == [[0.25, 0.625, 0.625, 1.0]]
    assert smooth_monotone([[0.5], [0.0]]) == [[0.25], [0.25]]


def test_it_is_the_nearest_of_all_that_never_fall() -> None:
    grid = [[0.0, 1.0, 0.5], [0.5, 0.0, 0.75]]
    steps = [i / 8 for i in range(9)]
    candidates = (
        [[a, b, c], [d, e, f]]
        for a, b, c, d, e, f in itertools.product(steps, repeat=6)
        if a <= b <= c and d <= e <= f and a <= d and b <= e and c <= f
    )

    best = min(squared_distance(grid, candidate) for candidate in candidates)

    assert squared_distance(grid, smooth_monotone(grid)) <= best + 1e-9
