"""The stored integer entropy tables, and the gains that belong to them.

A table is found by index, and the index by integers: no float chooses how a symbol is coded, so an
edge and a cloud with the same file cannot fall out of step.

    y --gain(q)--> rint --> symbols --tables(q)[m]--> bits    symbols --inverse_gain(q)--> y_hat

Gains are stored for every trained quality and lie between those in between. Rows of tables lie
`table_steps` times as dense: row r is counted at the quality r / `table_steps`. A quality between
two rows is coded with tables mixed from both, by an integer rule (`slimcodec.entropy.table_mix`).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import PRECISION_BITS, TABLE_DTYPES, SymbolTables
from slimcodec.entropy.table_mix import MAX_MIXED_BINS, mix_tables, mixed_span
from slimcodec.errors import ModelError
from slimcodec.quality import gain_at, table_position

TOTAL_FREQUENCY = 1 << PRECISION_BITS
MAX_TABLE_STEPS = 64

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

    @property
    def num_qualities(self) -> int:
        """Number of trained qualities, 0 being the coarsest."""
        return int(self.gain.shape[0])

    @property
    def num_gains(self) -> int:
        """Latent channels that have gains."""
        return int(self.gain.shape[1])

    @property
    def num_channels(self) -> int:
        """Channels that have tables."""
        return int(self.offset.shape[1])

    @cached_property
    def rows(self) -> tuple[SymbolTables, ...]:
        """The stored tables of each row, one per channel."""
        return tuple(
            SymbolTables(*row) for row in zip(self.cdf, self.cdf_length, self.offset, strict=True)
        )

    def at(self, quality: float) -> SymbolTables:
        """Return the C tables that code a rounded quality; the same object for the same quality,
        mostly.
        """
        row, part = table_position(quality, self.table_steps)
        return _mixed(self, row, part) if part else self.rows[row]

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
        if len(shape) != 2 or 0 in shape:
            raise ModelError(f"tables: gain has shape {shape}, expected (qualities, channels)")
        for name in _GAINS:
            values = getattr(self, name)
            if values.dtype != np.float32:
                raise ModelError(f"tables: {name} is {values.dtype}, expected {np.float32}")
            if values.shape != shape:
                raise ModelError(f"tables: {name} has shape {values.shape}, not {shape}")
            if not (np.isfinite(values).all() and (values > 0).all()):
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
        for row, tables in enumerate(self.rows):
            tables.validate(f"tables: row {row}")
        for row, (low, high) in enumerate(pairwise(self.rows)):
            first, end = mixed_span(low, high)
            if (end - first).max() > MAX_MIXED_BINS:
                raise ModelError(
                    f"tables: rows {row} and {row + 1} span {(end - first).max()} symbols in one "
                    f"channel, at most {MAX_MIXED_BINS} are allowed"
                )


@lru_cache(maxsize=64)  # 192 channels take about 0.5 ms
def _mixed(tables: Tables, row: int, part: int) -> SymbolTables:
    return mix_tables(tables.rows[row], tables.rows[row + 1], part)


def load_tables(path: Path) -> Tables:
    """Read and check a `tables.npz`; one without `table_steps` has a row per trained quality.

    Raises:
        ModelError: the file is missing, no such archive, or its arrays are not valid tables.
    """
    arrays = _read_arrays(path, (*_GAINS, *TABLE_DTYPES), optional=_STEPS)
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
    arrays = _read_arrays(path, tuple(TABLE_DTYPES))
    tables = SymbolTables(arrays["cdf"], arrays["cdf_length"], arrays["offset"])
    tables.validate(path.name)
    return tables


def save_scale_tables(path: Path, tables: SymbolTables) -> None:
    """Check `tables` and write them as a compressed `.npz`."""
    tables.validate(path.name)
    np.savez_compressed(path, **{name: getattr(tables, name) for name in TABLE_DTYPES})


def _read_arrays(path: Path, names: tuple[str, ...], optional: str = "") -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            there = (*names, optional) if optional in archive else names
            return {name: archive[name] for name in there}
    except KeyError as exc:
        raise ModelError(f"{path}: lacks an array: {exc}") from exc
    except (OSError, ValueError, EOFError, BadZipFile) as exc:
        raise ModelError(f"{path}: cannot be read as tables: {exc}") from exc
