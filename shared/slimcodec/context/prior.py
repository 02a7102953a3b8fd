"""What chooses the table of a symbol from symbols that are known: integers, kept in `context.npz`.

Channels come in chunks, places in passes over a lattice; all channels of a chunk at the places of a
pass are one step, coded from what the steps before it gave. The first chunk has three passes, every
other two:

    A B of the rows     A C A C     row and column even: A, both odd: B, the rest: C
    0, 1, 2, ...        C B C B     first chunk: A, then B, then C; others: A and B, then C

N are the symbols known so far, zero where none is: not decoded yet, outside the grid, beyond the
level. The places of an inter frame that did not change are known from the start, to their own level
and at the frame's quality. With b the end of the chunk and |N| and N of the 3 x 3 places around,
channels 0 to b - 1; a quotient is rounded down, below zero, too:

    S      bias[quality, pass, channel] + sum of weight * lut(|N|)       lut(a) about 16 log2(1 + a)
    scale  S / 2**12, held to 0..47                       stands for exp((scale - 16) / 4), about
    mu     (sum of mean * (N held to +-1023) + 64) / 2**7                in eighths of a symbol
    m, f   mu = 8 m + f with f from -4 to 3; both 0 in a step that has no means
    coded  symbol - m, by table 8 * scale + f + 4, which all channels share

A symbol that is coded as the difference to a reference R is coded as symbol - R - m. D = N - R
where a place is decoded and R has the whole chunk there, else 0; so it is 0 where nothing changed.
Its biases and weights are others, its means are of D in place of N, and the inputs of S are, for
each of the 3 x 3 places: lut(|N|) and lut(|D|) of the channels 0 to b - 1, lut(|R|) of the chunk's
own, and 1 if the place changed; and last, of the place alone, how much finer the frame is than R:
quality less that of R, in 1/16 rounded down, held to 0..127.

Every sum is one of integers below 2**24, which float32 holds exactly in any order.

`context.npz` (arrays in C order; Q qualities, M channels, K chunks, k a chunk, p a pass from 0, n
the channels of the chunk):

    lut                 (256,) uint8; a larger |symbol| has the last entry
    ends                (K,) int32, the channel after each chunk; each level ends with one
    bias, inter_bias    (Q, 3, M) int32. Between two qualities, t / 256 of the way from low to high:
                        ((256 - t) * low + t * high + 128) / 256, rounded down
    intra_k_p, mean_k_p, inter_mean_k_p    (9 b, n) int16: rows by place, row by row from the upper
                        left, then by channel. mean, inter and inter_mean may be missing
    inter_k_p           (9 (2 b + n + 1) + 1, n) int16: rows by place, then as above. Without it
                        nothing in the step is coded as a difference
    cdf, cdf_length, offset    of the 384 tables, as in `slimcodec.entropy.symbol_tables`
    changed, alone      (120,) and (5,) int32, of 2**16, of flags (`slimcodec.context.flags`): how
                        often each is 1. A table of flags has three bins: 0, 1, and an escape of
                        frequency 1 that is never used
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS, to_fixed
from slimcodec.entropy.symbol_tables import PRECISION_BITS, TABLE_DTYPES, SymbolTables
from slimcodec.entropy.tables import read_arrays
from slimcodec.errors import ModelError
from slimcodec.symbols import MAX_SYMBOL

NUM_SCALES = 48
FRACTION_BITS = 3
FRACTIONS = 1 << FRACTION_BITS  # tables of one scale, by the eighths of the mean
SCALE_BITS = 12
MEAN_BITS = 7  # a mean's weight of one is 2**10: what is left are eighths
MAX_MEAN_INPUT = 1023
MAX_MEAN_WEIGHTS = 1 << 14  # sum of one output's: times 1023 it is below 2**24
MAX_SUM = 1 << 24
PASSES = 3  # of the first chunk; others have two
NEIGHBOURS = 9
CHANGE_CONTEXTS = 2 * 10 * 6  # finer than the reference; its changes around; those left and above
MODE_CONTEXTS = 5  # changed places among the four neighbours
MAX_FINENESS = 127
# of a symbol: so the bytes of a section bound how many symbols it can hold (`slimcodec.symbols`)
LEAST_BITS = 0.003
PARTS_OF_BIT = 1024

# Every symbol and difference of two by its place in an array: 0, 1, ..., then those below 0.
_SIGNED = np.fft.ifftshift(np.arange(-2 * MAX_SYMBOL, 2 * MAX_SYMBOL + 1))

KINDS = ("intra", "mean", "inter", "inter_mean")  # of the weights, by chunk and pass
_PLAIN = ("lut", "ends", "bias", "inter_bias", "changed", "alone")


@dataclass(frozen=True)
class Chunk:
    """Channels that are coded together."""

    number: int
    start: int
    end: int

    @property
    def passes(self) -> int:
        """2, or of the first chunk 3."""
        return PASSES if self.number == 0 else PASSES - 1


@dataclass(frozen=True, eq=False)
class ContextPrior:
    """Q qualities, M channels in K chunks. Weights are by "kind_chunk_pass"; of a chunk without the
    kind "inter" nothing is coded as a difference, one without means has none."""

    lut: NDArray[np.uint8]  # (256,)
    ends: NDArray[np.int32]  # (K,)
    bias: NDArray[np.int32]  # (Q, 3, M)
    inter_bias: NDArray[np.int32]  # (Q, 3, M)
    changed: NDArray[np.int32]  # (120,), of 2**16: how often a place changes
    alone: NDArray[np.int32]  # (5,), of 2**16: how often a changed place is coded alone
    tables: SymbolTables  # 384
    weights: dict[str, NDArray[np.int16]]  # (inputs, channels of the chunk)

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """All K."""
        starts = [0, *self.ends[:-1].tolist()]
        return tuple(
            Chunk(k, a, int(b)) for k, (a, b) in enumerate(zip(starts, self.ends, strict=True))
        )

    @cached_property
    def signed_magnitudes(self) -> NDArray[np.float32]:
        """`lut` of every symbol and difference, which may be its index."""
        of_all: NDArray[np.float32] = self.lut.astype(np.float32)[np.minimum(np.abs(_SIGNED), 255)]
        return of_all

    def has(self, kind: str, chunk: Chunk, number: int) -> bool:
        """Whether a step has weights of a kind."""
        return f"{kind}_{chunk.number}_{number}" in self.weights

    def widened(self, kind: str, chunk: Chunk, number: int, channels: int) -> NDArray[np.float32]:
        """Return the weights of a step's kind with one input for each channel, for more channels
        than it has: (9 * channels, n), zeros for those.
        """
        key = (kind, chunk.number, number, channels)
        if key not in self._wide:
            weights = self.weights[f"{kind}_{chunk.number}_{number}"]
            wide = np.zeros((NEIGHBOURS, channels, weights.shape[1]), np.float32)
            wide[:, : chunk.end] = weights.reshape(NEIGHBOURS, chunk.end, -1)
            self._wide[key] = wide.reshape(NEIGHBOURS * channels, -1)
        return self._wide[key]

    def mixed(
        self, chunk: Chunk, number: int, channels: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights of differences for inputs of `channels` each of |N|, |D| and |R| and
        one for changes, (9 * (3 * channels + 1), n), and those of fineness (n,).
        """
        key = ("inter", chunk.number, number, channels)
        weights = self.weights[f"inter_{chunk.number}_{number}"]
        if key not in self._wide:
            a, b, M = chunk.start, chunk.end, channels
            known, lost, other, changes = np.split(
                weights[:-1].reshape(NEIGHBOURS, -1, b - a), [b, 2 * b, 3 * b - a], axis=1
            )
            wide = np.zeros((NEIGHBOURS, 3 * M + 1, b - a), np.float32)
            wide[:, :b], wide[:, M : M + b], wide[:, 2 * M + a : 2 * M + b] = known, lost, other
            wide[:, -1:] = changes
            self._wide[key] = wide.reshape(NEIGHBOURS * (3 * M + 1), -1)
        return self._wide[key], weights[-1].astype(np.float32)

    @cached_property
    def _wide(self) -> dict[tuple[str, int, int, int], NDArray[np.float32]]:
        return {}

    @cached_property
    def change_tables(self) -> SymbolTables:
        """Tables of 0 (unchanged) and 1."""
        return _binary_tables(self.changed)

    @cached_property
    def mode_tables(self) -> SymbolTables:
        """Tables of 0 (a difference) and 1 (alone)."""
        return _binary_tables(self.alone)

    @cached_property
    def least_bits(self) -> float:
        """Bits that any symbol costs at least."""
        return float(self.tables.least_bits.min())

    def bits(self, symbols: NDArray[np.int32], index: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return what coded symbols take, about, by the table of each, any shape; in parts of bits
        that are integers, so that an encoder chooses the same wherever it runs.
        """
        bins = symbols - self.tables.offset[index]
        last = self.bits_of_bins.shape[1] - 1
        held = np.where((bins < 0) | (bins > last), last, bins)
        found: NDArray[np.int64] = self.bits_of_bins[index, held].astype(np.int64)
        return found

    @cached_property
    def bits_of_bins(self) -> NDArray[np.uint16]:
        """(384, bins) of each bin; those that a table lacks, and the last column, its escape's."""
        frequencies = np.diff(self.tables.cdf.astype(np.int64), axis=1)
        escape = self.tables.cdf_length - 2
        of_escape = np.take_along_axis(frequencies, escape[:, np.newaxis].astype(np.intp), axis=1)
        lacking = np.arange(frequencies.shape[1]) >= escape[:, np.newaxis]
        bits = PRECISION_BITS - np.log2(np.where(lacking, of_escape, frequencies))
        bits[lacking] += 8  # two digits of its value
        parts = np.rint(PARTS_OF_BIT * np.pad(bits, ((0, 0), (0, 1)), mode="edge"))
        rounded: NDArray[np.uint16] = parts.astype(np.uint16)
        return rounded

    def bias_at(self, quality: float, inter: bool = False) -> NDArray[np.float32]:
        """Return (3, M) biases at a rounded quality."""
        bias = self.inter_bias if inter else self.bias
        below, part = divmod(to_fixed(quality), QUALITY_STEPS)
        if not part:
            stored: NDArray[np.float32] = bias[below].astype(np.float32)
            return stored
        low, high = bias[below : below + 2].astype(np.int64)
        mixed = ((QUALITY_STEPS - part) * low + part * high + QUALITY_STEPS // 2) // QUALITY_STEPS
        between: NDArray[np.float32] = mixed.astype(np.float32)
        return between

    def validate(self, what: str) -> None:
        """Check shapes, types and bounds.

        Args:
            what: What to call it in an error.

        Raises:
            ModelError: naming what is wrong.
        """
        q, _, m = self.bias.shape if self.bias.ndim == 3 else (0, 0, 0)
        shapes = {
            "lut": ((256,), np.uint8),
            "ends": ((len(self.ends),), np.int32),
            "bias": ((q, PASSES, m), np.int32),
            "inter_bias": ((q, PASSES, m), np.int32),
            "changed": ((CHANGE_CONTEXTS,), np.int32),
            "alone": ((MODE_CONTEXTS,), np.int32),
        }
        for name, (shape, dtype) in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype or not array.size:
                raise ModelError(
                    f"{what}: {name} is {array.dtype} {array.shape}, expected {dtype.__name__} "
                    f"{shape}"
                )
        if (np.diff(self.ends, prepend=0) < 1).any() or self.ends[-1] != m:
            raise ModelError(f"{what}: ends do not grow to the {m} channels")
        for name in ("changed", "alone"):
            if not (getattr(self, name).min() >= 1 and getattr(self, name).max() <= 0xFFFE):
                raise ModelError(f"{what}: a frequency of {name} is not in 1..65534")
        self.tables.validate(what)
        if self.tables.num_tables != NUM_SCALES * FRACTIONS:
            raise ModelError(
                f"{what}: {self.tables.num_tables} tables, not {NUM_SCALES * FRACTIONS}"
            )
        if self.least_bits < LEAST_BITS:
            raise ModelError(f"{what}: a symbol takes {self.least_bits:g} bits, not {LEAST_BITS:g}")
        expected = {}
        for chunk in self.chunks:
            b, n = chunk.end, chunk.end - chunk.start
            inputs = {
                "intra": NEIGHBOURS * b,
                "mean": NEIGHBOURS * b,
                "inter": NEIGHBOURS * (2 * b + n + 1) + 1,
                "inter_mean": NEIGHBOURS * b,
            }
            for kind, size in inputs.items():
                for number in range(chunk.passes):
                    expected[f"{kind}_{chunk.number}_{number}"] = (size, n)
                    if kind == "intra" and f"intra_{chunk.number}_{number}" not in self.weights:
                        raise ModelError(f"{what}: lacks intra_{chunk.number}_{number}")
        for name, weights in self.weights.items():
            if weights.dtype != np.int16 or weights.shape != expected.get(name):
                raise ModelError(
                    f"{what}: {name} is {weights.dtype} {weights.shape}, expected int16 "
                    f"{expected.get(name)}"
                )
            self._check_sums(what, name, weights)

    def _check_sums(self, what: str, name: str, weights: NDArray[np.int16]) -> None:
        kind, chunk, number = name.rsplit("_", 2)
        most = np.abs(weights.astype(np.int64)).sum(0)  # (n,)
        if kind.endswith("mean"):
            if most.max() > MAX_MEAN_WEIGHTS:
                raise ModelError(f"{what}: the weights of {name} sum to {most.max()}")
            return
        bias = self.inter_bias if kind == "inter" else self.bias
        of = self.chunks[int(chunk)]
        constant = np.abs(bias[:, int(number), of.start : of.end].astype(np.int64)).max(0)
        if (most * max(int(self.lut.max()), MAX_FINENESS) + constant).max() >= MAX_SUM:
            raise ModelError(f"{what}: sums of {name} may not fit float32")


def load_context(path: Path) -> ContextPrior:
    """Read and check a `context.npz`.

    Raises:
        ModelError: the file is missing, no such archive, or its arrays are not what they must be.
    """
    arrays = read_arrays(path, (*_PLAIN, *TABLE_DTYPES), is_optional=_is_weights)
    fields: dict[str, Any] = {name: arrays.pop(name) for name in _PLAIN}
    tables = SymbolTables(arrays.pop("cdf"), arrays.pop("cdf_length"), arrays.pop("offset"))
    prior = ContextPrior(**fields, tables=tables, weights=arrays)
    prior.validate(str(path))
    return prior


def save_context(path: Path, prior: ContextPrior) -> None:
    """Check a prior and write it as a compressed `.npz`."""
    prior.validate(path.name)
    np.savez_compressed(path, **context_arrays(prior))


def context_arrays(prior: ContextPrior) -> dict[str, NDArray[Any]]:
    """Return all arrays by their names in the file, in C order."""
    plain = {name: getattr(prior, name) for name in _PLAIN}
    tables = {name: getattr(prior.tables, name) for name in TABLE_DTYPES}
    arrays = {**plain, **tables, **dict(sorted(prior.weights.items()))}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _is_weights(name: str) -> bool:
    return name.rsplit("_", 2)[0] in KINDS


def _binary_tables(frequency_of_one: NDArray[np.int32]) -> SymbolTables:
    """Tables of 0 and 1; the escape that every table has gets the least."""
    total = 1 << PRECISION_BITS
    one = frequency_of_one.astype(np.int64)
    zero = np.clip(total - one - 1, 1, None)
    rows = np.stack([np.zeros_like(one), zero, zero + one, np.full_like(one, total)], axis=1)
    count = len(one)
    return SymbolTables(
        rows.astype(np.uint32), np.full(count, 4, np.int32), np.zeros(count, np.int32)
    )
