"""Tables between two rows: mixed from both, in integers.

Symbols of a quality between two rows are spread in between as well, but not evenly: a channel whose
latents lie near one value rounds to one symbol at the lower row and to the next at the upper. With
the nearest row such a channel costs several bits a symbol on one side; with the mixture never more
than the logarithm of its share beyond the better row (measured: docs/develop/container.md).

    frequency of 2**24 = (256 - t) * low's of 2**16 + t * high's of 2**16,    t of 256 on the way
"""

import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import PRECISION_BITS, SymbolTables
from slimcodec.quality import QUALITY_STEPS

MIX_BITS = 8  # QUALITY_STEPS is 2**8
MAX_MIXED_BINS = 4096  # so that a bin always has one to spare for each that would have none


def mix_tables(low: SymbolTables, high: SymbolTables, part: int) -> SymbolTables:
    """Return the tables `part` / 256 of the way from `low` to `high`, 1 to 255.

    A table has a bin for every symbol from the first that either has to the last, then the escape.
    A bin that neither has gets a frequency of 1, taken from the largest bin (the first of equals).
    """
    first, end = mixed_span(low, high)
    last = (end - first)[:, np.newaxis]  # of the escape bin
    mixed = (QUALITY_STEPS - part) * _dense(low, first, end) + part * _dense(high, first, end)
    empty = (mixed == 0) & (np.arange(mixed.shape[1]) < last)
    mixed[empty] = 1
    mixed[np.arange(len(mixed)), mixed.argmax(1)] -= empty.sum(1)
    cdf = np.pad(np.cumsum(mixed, axis=1), ((0, 0), (1, 0))).astype(np.uint32)
    length = (last[:, 0] + 2).astype(np.int32)
    return SymbolTables(cdf, length, first.astype(np.int32), PRECISION_BITS + MIX_BITS)


def mixed_span(
    low: SymbolTables, high: SymbolTables
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first symbol that has a bin, and the one after the last, (T,) each."""
    firsts = [tables.offset.astype(np.int64) for tables in (low, high)]
    ends = [
        first + tables.cdf_length - 2 for first, tables in zip(firsts, (low, high), strict=True)
    ]
    return np.minimum(*firsts), np.maximum(*ends)


def _dense(
    tables: SymbolTables, first: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Frequencies (T, widest + 1), column i for the symbol first + i, the escape's at end."""
    num_plain = tables.cdf_length.astype(np.int64) - 2
    bins = np.arange(tables.cdf.shape[1] - 1)
    column = (tables.offset - first)[:, np.newaxis] + bins  # (T, S + 1)
    column = np.where(bins == num_plain[:, np.newaxis], (end - first)[:, np.newaxis], column)
    used = bins <= num_plain[:, np.newaxis]
    frequencies = np.diff(tables.cdf.astype(np.int64), axis=1)
    dense = np.zeros((len(first), int((end - first).max()) + 1), np.int64)
    dense[np.nonzero(used)[0], column[used]] = frequencies[used]
    return dense
