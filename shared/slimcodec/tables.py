"""The stored integer entropy tables, and the gains that belong to them.

One table per (quality, channel), found by index: no float and no network chooses how a symbol is
coded, so an edge and a cloud with the same file cannot fall out of step.

    y --gain[q]--> rint --> symbols --cdf[q, m]--> bits        symbols --inverse_gain[q]--> y_hat

A row of `cdf` holds `cdf_length` cumulative frequencies, from 0 to 2**16, then padding. Bin i
stands for the symbol `offset + i`, except the last bin, which is the escape: every symbol that no
other bin stands for is coded as the escape, and its value separately (see `slimcodec.coder`).
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import ModelError

PRECISION_BITS = 16  # cumulative frequencies end at 2**16
TOTAL_FREQUENCY = 1 << PRECISION_BITS
MAX_OFFSET = 1 << 30  # keeps symbol arithmetic far from the ends of int64

_DTYPES: dict[str, type[np.generic]] = {
    "gain": np.float32,
    "inverse_gain": np.float32,
    "cdf": np.uint32,
    "cdf_length": np.int32,
    "offset": np.int32,
}


@dataclass(frozen=True, eq=False)
class Tables:
    """Gains and entropy tables of all qualities (Q) and latent channels (M)."""

    gain: NDArray[np.float32]  # (Q, M), > 0
    inverse_gain: NDArray[np.float32]  # (Q, M), > 0
    cdf: NDArray[np.uint32]  # (Q, M, S + 2), rows rise strictly from 0 to 2**16
    cdf_length: NDArray[np.int32]  # (Q, M), entries used in a row, at least 3
    offset: NDArray[np.int32]  # (Q, M), the symbol of the first bin

    @property
    def num_qualities(self) -> int:
        """Number of qualities, 0 being the coarsest."""
        return int(self.gain.shape[0])

    @property
    def num_channels(self) -> int:
        """Latent channels of the widest level."""
        return int(self.gain.shape[1])

    def frequencies(self, quality: int, channel: int) -> NDArray[np.int64]:
        """Return the integer frequencies of a table; they sum to 2**16, the last is the escape."""
        row = self.cdf[quality, channel, : self.cdf_length[quality, channel]]
        return np.diff(row.astype(np.int64))

    def validate(self) -> None:
        """Check shapes, types and every row.

        Raises:
            ModelError: naming the first (quality, channel) that is wrong.
        """
        for name, dtype in _DTYPES.items():
            if getattr(self, name).dtype != dtype:
                raise ModelError(f"tables: {name} is {getattr(self, name).dtype}, expected {dtype}")
        shape = self.gain.shape
        if len(shape) != 2 or 0 in shape:
            raise ModelError(f"tables: gain has shape {shape}, expected (qualities, channels)")
        for name in ("inverse_gain", "cdf_length", "offset"):
            if getattr(self, name).shape != shape:
                raise ModelError(
                    f"tables: {name} has shape {getattr(self, name).shape}, not {shape}"
                )
        if self.cdf.ndim != 3 or self.cdf.shape[:2] != shape:
            raise ModelError(
                f"tables: cdf has shape {self.cdf.shape}, expected {(*shape, 'S + 2')}"
            )
        for name in ("gain", "inverse_gain"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ModelError(f"tables: {name} must be finite and positive")
        if np.abs(self.offset.astype(np.int64)).max() > MAX_OFFSET:
            raise ModelError(f"tables: offset beyond +-{MAX_OFFSET}")
        self._validate_rows()

    def _validate_rows(self) -> None:
        for quality, channel in np.ndindex(*self.gain.shape):
            length = int(self.cdf_length[quality, channel])
            where = f"tables: quality {quality}, channel {channel}"
            if not 3 <= length <= self.cdf.shape[2]:
                raise ModelError(f"{where}: cdf_length {length} not in 3..{self.cdf.shape[2]}")
            row = self.cdf[quality, channel, :length]
            if row[0] != 0 or row[-1] != TOTAL_FREQUENCY:
                raise ModelError(f"{where}: cdf runs {row[0]}..{row[-1]}, not 0..{TOTAL_FREQUENCY}")
            if (np.diff(row.astype(np.int64)) < 1).any():
                raise ModelError(f"{where}: a bin has frequency 0")


def load_tables(path: Path) -> Tables:
    """Read and check a `tables.npz`.

    Raises:
        ModelError: the file is missing, no such archive, or its arrays are not valid tables.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            tables = Tables(**{name: archive[name] for name in _DTYPES})
    except KeyError as exc:
        raise ModelError(f"{path}: lacks an array: {exc}") from exc
    except (OSError, ValueError, EOFError, BadZipFile) as exc:
        raise ModelError(f"{path}: cannot be read as tables: {exc}") from exc
    tables.validate()
    return tables


def save_tables(path: Path, tables: Tables) -> None:
    """Check `tables` and write them as a compressed `.npz`."""
    tables.validate()
    np.savez_compressed(path, **{name: getattr(tables, name) for name in _DTYPES})
