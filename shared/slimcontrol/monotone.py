"""What a point is worth, so that more bits are never worth less: isotonic regression on a grid.

    measured utility (level, quality) -least squares-> nearest one that falls along no row or column

mAP of some dozens of pictures goes up and down by a few hundredths from point to point, which is
noise of the pictures; a controller that believed it would send a wider level for nothing.

Source: Dykstra and Robertson, An algorithm for isotonic regression for two or more independent
variables, Annals of Statistics 10 (3), 1982, https://doi.org/10.1214/aos/1176345866.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

_MAX_ROUNDS = 1000
_CLOSE = 1e-9  # a round that changes no value by more ends it

Grid = list[list[float]]


def smooth_monotone(values: Sequence[Sequence[float]]) -> Grid:
    """Give the grid nearest to this one, in least squares, that never falls along a row or column.

    Args:
        values: Rows of equal length, of finite numbers.
    """
    fitted = [list(row) for row in values]
    by_row = by_column = [[0.0] * len(row) for row in values]  # what the last fits took away
    for _ in range(_MAX_ROUNDS):
        before = fitted
        corrected = _add(fitted, by_row)
        fitted = [_rise(row) for row in corrected]
        by_row = _subtract(corrected, fitted)
        corrected = _add(fitted, by_column)
        fitted = _transpose([_rise(column) for column in _transpose(corrected)])
        by_column = _subtract(corrected, fitted)
        if all(abs(x) < _CLOSE for row in _subtract(fitted, before) for x in row):
            break
    # rounding and an early end may leave a fall of about `_CLOSE`
    return [
        _highest_so_far(row)
        for row in _transpose([_highest_so_far(column) for column in _transpose(fitted)])
    ]


def _rise(values: Sequence[float]) -> list[float]:
    """The nearest sequence that never falls: neighbours that do are replaced by their mean."""
    blocks: list[tuple[float, int]] = []  # mean, length
    for value in values:
        mean, length = value, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean = (mean * length + other * count) / (length + count)
            length += count
        blocks.append((mean, length))
    return [mean for mean, length in blocks for _ in range(length)]


def _highest_so_far(values: Sequence[float]) -> list[float]:
    return list(accumulate(values, max))


def _transpose(grid: Grid) -> Grid:
    return [list(column) for column in zip(*grid, strict=True)]


def _add(a: Grid, b: Grid) -> Grid:
    return [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def _subtract(a: Grid, b: Grid) -> Grid:
    return [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]
