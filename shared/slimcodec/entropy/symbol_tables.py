"""A set of integer entropy tables, of which each symbol uses one.

A row of `cdf` holds `cdf_length` cumulative frequencies, from 0 to 2**16, then padding. Bin i
stands for the symbol `offset + i`, except the last bin, which is the escape: every symbol that no
other bin stands for is coded as the escape, and its value separately (see
`slimcodec.entropy.coder`).
"""

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
    """T entropy tables."""

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

    def validate(self, what: str) -> None:
        """Check shapes, types and every table.

        Args:
            what: What to call them in an error, as "tables: row 3".

        Raises:
            ModelError: naming the first table that is wrong.
        """
        for name, dtype in TABLE_DTYPES.items():
            if getattr(self, name).dtype != dtype:
                raise ModelError(f"{what}: {name} is {getattr(self, name).dtype}, expected {dtype}")
        shape = self.offset.shape
        is_count = len(shape) == 1 and 1 <= shape[0] <= MAX_TABLES
        if not is_count or self.cdf_length.shape != shape:
            raise ModelError(
                f"{what}: offset has shape {shape} and cdf_length {self.cdf_length.shape}, "
                f"expected (tables,) for both, 1 to {MAX_TABLES}"
            )
        if self.cdf.ndim != 2 or self.cdf.shape[:1] != shape:
            raise ModelError(
                f"{what}: cdf has shape {self.cdf.shape}, expected {(*shape, 'S + 2')}"
            )
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
