"""What a point is worth, so that more bits are never worth less: isotonic regression on a grid.

    measured utility (level, quality) -least squares-> nearest one that falls along no row or column

mAP of some dozens of pictures goes up and down by a few hundredths from point to point, which is
noise of the pictures; a controller that believed it would send a wider level for nothing.

Source: Dykstra and Robertson, An algorithm for isotonic regression for two or more independent
variables, Annals of Statistics 10 (3), 1982, https://doi.org/10.1214/aos/1176345866.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_MAX_ROUNDS = 1000
_CLOSE = 1e-9  # a round that changes no value by more ends it


def smooth_monotone(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Give the grid nearest to this one, in least squares, that never falls along a row or column.

    Args:
        values: Rows of equal length, of finite numbers.
    """
    fitted = np.array(values, dtype=np.float64)
    by_row = by_column = np.zeros_like(fitted)  # what the last fits took away
    for _ in range(_MAX_ROUNDS):
        before = fitted
        corrected = fitted + by_row
        fitted = np.array([_rise(row) for row in corrected])
        by_row = corrected - fitted
        corrected = fitted + by_column
        fitted = np.array([_rise(column) for column in corrected.T]).T
        by_column = corrected - fitted
        if np.all(np.abs(fitted - before) < _CLOSE):
            break
    # rounding and an early end may leave a fall of about `_CLOSE`
    highest = np.maximum.accumulate(np.maximum.accumulate(fitted, axis=0), axis=1)
    smooth: list[list[float]] = highest.tolist()
    return smooth


def _rise(values: Iterable[float]) -> list[float]:
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
