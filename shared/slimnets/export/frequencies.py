"""From weights of symbols to the integer frequencies of one entropy table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import TOTAL_FREQUENCY

_TAIL = 2e-5  # bins whose probability, outward, sums to less than this are left to the escape


def to_frequencies(weights: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Weights (2 * reach + 1,) of the symbols from -reach to reach -> the symbol of the first bin,
    and integer frequencies (the last one is the escape's) that sum to 2**16.
    """
    reach = len(weights) // 2
    p = weights / weights.sum()
    low = int(np.searchsorted(np.cumsum(p), _TAIL))
    high = len(p) - int(np.searchsorted(np.cumsum(p[::-1]), _TAIL))  # one past the last kept
    low, high = min(low, reach), max(high, reach + 1)  # zero always has a bin
    kept = np.append(p[low:high], max(1.0 - p[low:high].sum(), 0.0))
    spare = TOTAL_FREQUENCY - len(kept)
    exact = kept / kept.sum() * spare
    frequencies = np.floor(exact).astype(np.int64) + 1
    short = TOTAL_FREQUENCY - int(frequencies.sum())
    frequencies[np.argsort(exact - np.floor(exact))[::-1][:short]] += 1
    return low - reach, frequencies


def to_tables(weights: NDArray[np.float64]) -> SymbolTables:
    """One table for each row of weights (T, 2 * reach + 1)."""
    rows = [to_frequencies(each) for each in weights]
    longest = max(len(frequencies) for _, frequencies in rows)
    cdf = np.full((len(rows), longest + 1), TOTAL_FREQUENCY, np.uint32)
    for row, (_, frequencies) in zip(cdf, rows, strict=True):
        row[0] = 0
        row[1 : len(frequencies) + 1] = np.cumsum(frequencies)
    length = np.array([len(frequencies) + 1 for _, frequencies in rows], np.int32)
    return SymbolTables(cdf, length, np.array([first for first, _ in rows], np.int32))
