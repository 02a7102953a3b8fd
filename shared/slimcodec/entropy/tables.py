"""The stored integer entropy tables, and the gains that belong to them.

A table is found by index, and the index by integers: no float chooses how a symbol is coded, so an
edge and a cloud with the same file cannot fall out of step.

    y --gain(q)--> rint --> symbols --tables(q)[m]--> bits    symbols --inverse_gain(q)--> y_hat

Gains are stored for every trained quality and lie between those in between. Rows of tables lie
`table_steps` times as dense: row r is counted at the quality r / `table_steps`. A quality between
two rows is coded with tables mixed from both, in integers:

    frequency of 2**24 = (256 - t) * low's of 2**16 + t * high's of 2**16,    t of 256 on the way

Its symbols are spread in between as well, but not evenly: a channel whose latents lie near one
value rounds to one symbol at the lower row and to the next at the upper. With the nearest row such
a channel costs several bits a symbol on one side; with the mixture never more than the logarithm of
its share beyond the better row (measured: docs/develop/container.md).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import FINGERPRINT_BYTES, QUALITY_STEPS, to_fixed
from slimcodec.entropy.gain import gain_at
from slimcodec.entropy.symbol_tables import PRECISION_BITS, TABLE_DTYPES, SymbolTables
from slimcodec.errors import ModelError

TOTAL_FREQUENCY = 1 << PRECISION_BITS
MAX_TABLE_STEPS = 64
MAX_TABLE_BYTES = 32 * 2**20  # of all arrays, unpacked
MIX_BITS = 8  # QUALITY_STEPS is 2**8
MAX_MIXED_BINS = 4096  # so that a bin always has one to spare for each that would have none

_GAINS = ("gain", "inverse_gain")
_STEPS = "table_steps"


@dataclass(frozen=True, eq=False)
class Tables:
    """Gains of all trained qualities (Q) and latent channels (M); R rows of C entropy tables."""

    gain: NDArray[np.float32]  # (Q, M), > 0
    inverse_gain: NDArray[np.float32]  # (Q, M), > 0
    cdf: NDArray[np.uint32]  # (R, C, S + 2), as in SymbolTables
    cdf_length: NDArray[np.int32]  # (R, C)
    offset: NDArray[np.int32]  # (R, C)
    table_steps: int = 1  # rows from one trained quality to the next: R = (Q - 1) * steps + 1

    @cached_property
    def rows(self) -> tuple[SymbolTables, ...]:
        """The stored tables of each row, one per channel."""
        return tuple(
            SymbolTables(*row) for row in zip(self.cdf, self.cdf_length, self.offset, strict=True)
        )

    def at(self, quality: float) -> SymbolTables:
        """Return the C tables that code a rounded quality, mostly the same object each time."""
        row, part = table_position(quality, self.table_steps)
        return mix_tables(*self.rows[row : row + 2], part) if part else self.rows[row]

    def least_bits_at(self, quality: float) -> NDArray[np.float64]:
        """Return (C,) bits that a symbol costs at least at a rounded quality.

        No bin of a mixture is more probable than it is in one of its two rows, so none is mixed.
        """
        row, part = table_position(quality, self.table_steps)
        least = self.rows[row].least_bits
        return np.minimum(least, self.rows[row + 1].least_bits) if part else least

    def gain_at(self, quality: float) -> NDArray[np.float32]:
        """Return the (M,) gains at a rounded quality."""
        return gain_at(self.gain, quality)

    def inverse_gain_at(self, quality: float) -> NDArray[np.float32]:
        """Return the (M,) inverse gains at a rounded quality."""
        return gain_at(self.inverse_gain, quality)

    def validate(self) -> None:
        """Check shapes, types and every table.

        Raises:
            ModelError: naming the first (row, table) that is wrong.
        """
        shape = self.gain.shape
        for name in _GAINS:
            values = getattr(self, name)
            if values.dtype != np.float32 or values.shape != shape or len(shape) != 2:
                raise ModelError(
                    f"tables: {name} is {values.dtype} {values.shape}, expected float32 "
                    "(qualities, channels) as the other gains"
                )
            if not (values.size and np.isfinite(values).all() and (values > 0).all()):
                raise ModelError(f"tables: {name} must be finite and positive")
        if not 1 <= self.table_steps <= MAX_TABLE_STEPS:
            raise ModelError(f"tables: {_STEPS} {self.table_steps} not in 1..{MAX_TABLE_STEPS}")
        num_rows = (shape[0] - 1) * self.table_steps + 1
        for name in TABLE_DTYPES:
            found = getattr(self, name).shape
            if found[:1] != (num_rows,) or len(found) < 2:
                raise ModelError(
                    f"tables: {name} has shape {found}; {shape[0]} qualities in steps of "
                    f"1/{self.table_steps} need {num_rows} rows of channels"
                )
        if not self.offset.shape[1]:
            return  # gains alone: the symbols are coded otherwise
        for row, tables in enumerate(self.rows):
            tables.validate(f"tables: row {row}")
        for row, (low, high) in enumerate(pairwise(self.rows)):
            first, end = mixed_span(low, high)
            if (end - first).max() > MAX_MIXED_BINS:
                raise ModelError(
                    f"tables: rows {row} and {row + 1} span {(end - first).max()} symbols in one "
                    f"channel, at most {MAX_MIXED_BINS} are allowed"
                )


def load_tables(path: Path) -> Tables:
    """Read and check a `tables.npz`; one without `table_steps` has a row per trained quality.

    Raises:
        ModelError: the file is missing, no such archive, or its arrays are not valid tables.
    """
    arrays = read_arrays(path, (*_GAINS, *TABLE_DTYPES), is_optional=_STEPS.__eq__)
    steps = arrays.pop(_STEPS, np.array(1))
    if steps.shape != () or steps.dtype.kind not in "iu":
        raise ModelError(f"{path}: {_STEPS} is {steps.dtype} {steps.shape}, expected one integer")
    tables = Tables(**arrays, table_steps=int(steps))
    tables.validate()
    return tables


def save_tables(path: Path, tables: Tables) -> None:
    """Check `tables` and write them as a compressed `.npz`."""
    tables.validate()
    arrays = {name: getattr(tables, name) for name in (*_GAINS, *TABLE_DTYPES)}
    np.savez_compressed(path, **arrays, table_steps=np.array(tables.table_steps, np.int32))


def load_scale_tables(path: Path) -> SymbolTables:
    """Read and check a `hyper.npz`: the tables of y by the scale index that h_s gives.

    Raises:
        ModelError: the file is missing, no such archive, or its arrays are not valid tables.
    """
    arrays = read_arrays(path, tuple(TABLE_DTYPES))
    tables = SymbolTables(arrays["cdf"], arrays["cdf_length"], arrays["offset"])
    tables.validate(path.name)
    return tables


def save_scale_tables(path: Path, tables: SymbolTables) -> None:
    """Check `tables` and write them as a compressed `.npz`."""
    tables.validate(path.name)
    np.savez_compressed(path, **{name: getattr(tables, name) for name in TABLE_DTYPES})


def read_arrays(
    path: Path, names: tuple[str, ...], is_optional: Callable[[str], bool] = lambda name: False
) -> dict[str, NDArray[Any]]:
    """Read arrays of an `.npz`, those of `names` and whichever optional ones it has.

    Raises:
        ModelError: the file is missing, no such archive, too large, or lacks one of `names`.
    """
    try:
        with ZipFile(path) as zipped:
            unpacked = sum(part.file_size for part in zipped.infolist())
        if unpacked > MAX_TABLE_BYTES:
            raise ModelError(f"{path}: unpacks to {unpacked} bytes, more than {MAX_TABLE_BYTES}")
        with np.load(path, allow_pickle=False) as archive:
            there = (*names, *filter(is_optional, archive))
            return {name: np.asarray(archive[name]) for name in there}  # what is no array is bytes
    except KeyError as exc:
        raise ModelError(f"{path}: lacks an array: {exc}") from exc
    except ModelError:
        raise
    except Exception as exc:  # zipfile, zlib, numpy and its parser each have their own, and memory
        raise ModelError(f"{path}: cannot be read as tables: {exc}") from exc


def compute_fingerprint(
    structure: Mapping[str, object],
    tables: Tables,
    symbol_weights: Iterable[bytes],
    scale_tables: SymbolTables | None = None,
    context: Mapping[str, NDArray[Any]] | None = None,
) -> str:
    """Return the identity of a codec, which changes with whatever changes symbols or their coding.

    16 hexadecimal digits; only exporters call this.

    Args:
        structure: levels, qualities, pad multiple, latent stride: plain JSON values.
        tables: The entropy tables and gains.
        symbol_weights: The bytes of g_a's weights and of the prior's, in an order of the codec's.
        scale_tables: With a hyperprior, the tables of y.
        context: With the context prior, all its arrays by name.
    """
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True, separators=(",", ":")).encode())
    arrays = [tables.gain, tables.inverse_gain, tables.cdf, tables.cdf_length, tables.offset]
    if tables.table_steps != 1:
        arrays.append(np.array(tables.table_steps, np.int32))
    if scale_tables is not None:
        arrays += [scale_tables.cdf, scale_tables.cdf_length, scale_tables.offset]
    if context is not None:
        arrays += [context[name] for name in sorted(context)]
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    for weights in symbol_weights:
        digest.update(weights)
    return digest.digest()[:FINGERPRINT_BYTES].hex()


def table_position(quality: float, table_steps: int) -> tuple[int, int]:
    """Return the row of tables at or below a rounded quality, and how far it is to the next row.

    Args:
        quality: A multiple of 1/256.
        table_steps: Rows from one trained quality to the next.

    Returns:
        The row, and 0 to 255: 256ths of the way to the row above.
    """
    return divmod(to_fixed(quality) * table_steps, QUALITY_STEPS)


@lru_cache(maxsize=64)  # 192 channels take about 0.5 ms
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
