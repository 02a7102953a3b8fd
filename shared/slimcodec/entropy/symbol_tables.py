"""Integer entropy tables: which symbols they have, and how often."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import ModelError

PRECISION_BITS = 16  # of stored tables
MAX_TABLES = 1 << 16
MAX_OFFSET = 1 << 30  # an int32 minus an offset is then one number modulo 2**32

TABLE_DTYPES: dict[str, type[np.generic]] = {
    "cdf": np.uint32,
    "cdf_length": np.int32,
    "offset": np.int32,
}


@dataclass(frozen=True, eq=False)
class SymbolTables:
    """T integer entropy tables, of which each symbol uses one.

    A row of `cdf` holds `cdf_length` cumulative frequencies, from 0 to 2**bits, then padding. Bin i
    stands for the symbol `offset + i`, except the last bin, which is the escape.
    """

    cdf: NDArray[np.uint32]  # (T, S + 2), rows rise strictly from 0 to 2**bits
    cdf_length: NDArray[np.int32]  # (T,), entries used in a row, at least 3
    offset: NDArray[np.int32]  # (T,), the symbol of the first bin
    precision_bits: int = PRECISION_BITS  # cumulative frequencies end at 2**bits

    @property
    def num_tables(self) -> int:
        """T."""
        return int(self.offset.size)

    def frequencies(self, table: int) -> NDArray[np.int64]:
        """Return the frequencies of a table; they sum to 2**bits, the last is the escape's."""
        cdf: NDArray[np.int64] = self.cdf[table, : self.cdf_length[table]].astype(np.int64)
        return cdf[1:] - cdf[:-1]

    @functools.cached_property
    def least_bits(self) -> NDArray[np.float64]:
        """(T,) bits of each table's most probable symbol: no symbol of it costs less."""
        frequencies = np.diff(self.cdf.astype(np.int64), axis=1)  # (T, S + 1), then padding
        used = np.arange(frequencies.shape[1]) < self.cdf_length[:, np.newaxis] - 1
        bits: NDArray[np.float64] = self.precision_bits - np.log2(
            np.where(used, frequencies, 1).max(axis=1)
        )
        return bits

    def validate(self, what: str) -> None:
        """Check shapes, types and every table.

        Args:
            what: What to call them in an error, as "tables: row 3".

        Raises:
            ModelError: naming the first table that is wrong.
        """
        for name, dtype in TABLE_DTYPES.items():
            array, ndim = getattr(self, name), 2 if name == "cdf" else 1
            if array.dtype != dtype or array.ndim != ndim or len(array) != self.num_tables:
                raise ModelError(
                    f"{what}: {name} is {array.dtype} {array.shape}; expected {dtype.__name__} in "
                    f"{ndim} dimensions, for {self.num_tables} tables"
                )
        if not 1 <= self.num_tables <= MAX_TABLES:
            raise ModelError(f"{what}: {self.num_tables} tables, not 1..{MAX_TABLES}")
        if np.abs(self.offset.astype(np.int64)).max() > MAX_OFFSET:
            raise ModelError(f"{what}: offset beyond +-{MAX_OFFSET}")
        for table, length in enumerate(self.cdf_length.tolist()):
            where = f"{what}, table {table}"
            if not 3 <= length <= self.cdf.shape[1]:
                raise ModelError(f"{where}: cdf_length {length} not in 3..{self.cdf.shape[1]}")
            row = self.cdf[table, :length]
            if row[0] != 0 or row[-1] != 1 << self.precision_bits:
                raise ModelError(
                    f"{where}: cdf runs {row[0]}..{row[-1]}, not 0..2**{self.precision_bits}"
                )
            if (np.diff(row.astype(np.int64)) < 1).any():
                raise ModelError(f"{where}: a bin has frequency 0")
