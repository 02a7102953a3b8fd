"""The steps of a frame: what each is coded from, for the encoder and the decoder alike.

Everything lies on a grid with a border of one place, flat, channels last: a place and its eight
neighbours are nine rows of it, and a step's sums one product of matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS
from slimcodec.context.prior import (
    FRACTIONS,
    MAX_FINENESS,
    MAX_MEAN_INPUT,
    MEAN_BITS,
    NEIGHBOURS,
    NUM_SCALES,
    SCALE_BITS,
    Chunk,
    ContextPrior,
)

Places = NDArray[np.intp]  # numbers in the h * w grid, in its order


@dataclass(frozen=True, eq=False)
class Reference:
    """The symbols of another frame at the quality of the one that is coded."""

    symbols: NDArray[np.int32]  # (h * w, M), zero in channels that it lacks
    num_channels: NDArray[np.intp]  # (h * w,) that it has at each place
    fineness: NDArray[np.intp]  # (h * w,) by how much the frame is finer, in 1/256 of a quality
    changed: NDArray[np.bool_]  # (h * w,) the places that the frame codes


@dataclass(frozen=True, eq=False)
class Step:
    """A chunk at the places of a pass: where, and by which number of the pass."""

    chunk: Chunk
    number: int
    places: Places


class Walk:
    """Knows the symbols that are known so far, and predicts the next.

    Args:
        prior: Whose weights are used.
        quality: Of the frame, rounded.
        hw: Height and width of the latent.
        num_channels: M of the highest level that will be coded.
        reference: What the frame is coded against; None: every place is coded, alone.
    """

    def __init__(
        self,
        prior: ContextPrior,
        quality: float,
        hw: tuple[int, int],
        num_channels: int,
        reference: Reference | None = None,
    ) -> None:
        self._prior, self._hw, self._reference = prior, hw, reference
        self._bias = prior.bias_at(quality)
        self._rows, self._inner = _grid(*hw)
        size = (hw[0] + 2) * (hw[1] + 2)
        self.symbols = np.zeros((hw[0] * hw[1], num_channels), np.int32)
        # by chunk, for a product wants its inputs together: what the steps see
        self._known = np.zeros((size, num_channels), np.float32)  # lut(|N|)
        self._signed = np.zeros((size, num_channels), np.float32)  # N, held
        if reference is not None:
            self._inter_bias = prior.bias_at(quality, inter=True)
            self._lost = np.zeros((size, num_channels), np.float32)  # lut(|D|)
            self._lost_signed = np.zeros((size, num_channels), np.float32)  # D, held
            self._other = np.zeros((size, num_channels), np.float32)  # lut(|R|)
            self._changes = np.zeros((size, 1), np.float32)
            self._other[self._inner] = self._magnitude(reference.symbols[:, :num_channels])
            self._changes[self._inner, 0] = reference.changed
            still = np.flatnonzero(~reference.changed)
            self._put(still, slice(0, num_channels), reference.symbols[still, :num_channels])
            steps = reference.fineness * 16 // QUALITY_STEPS
            self._fineness = np.clip(steps, 0, MAX_FINENESS).astype(np.float32)

    def steps(self, start: int, end: int) -> Iterator[Step]:
        """Give the steps of the chunks from channel `start` to channel `end`."""
        kept = None if self._reference is None else self._reference.changed
        for chunk in self._prior.chunks:
            if start <= chunk.start and chunk.end <= end:
                for number, places in enumerate(_passes(*self._hw, chunk.passes)):
                    yield Step(chunk, number, places if kept is None else places[kept[places]])

    def has_reference(self, step: Step) -> NDArray[np.bool_]:
        """(n,) whether the step's channels are there to be differed from at each of its places."""
        if self._reference is None or not self._prior.has("inter", step.chunk, step.number):
            return np.zeros(len(step.places), np.bool_)
        there: NDArray[np.bool_] = self._reference.num_channels[step.places] >= step.chunk.end
        return there

    def alone(self, step: Step, places: Places) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return tables and means (n, channels of the chunk) of symbols that are coded alone."""
        chunk, number = step.chunk, step.number
        rows = self._rows[places]  # (n, 9)
        sums = self._sums("intra", self._known, step, rows)
        sums += self._bias[number, chunk.start : chunk.end]
        has_mean = self._prior.has("mean", chunk, number)
        return _tables(sums, self._sums("mean", self._signed, step, rows) if has_mean else None)

    def differing(self, step: Step, places: Places) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return tables and means (n, channels) of differences to R; R is not in the means."""
        assert self._reference is not None
        chunk, number = step.chunk, step.number
        a, b = chunk.start, chunk.end
        rows, n = self._rows[places], len(places)
        weights = self._prior.matrix("inter", chunk, number)
        parts = (self._known[:, :b], self._lost[:, :b], self._other[:, a:b], self._changes)
        around = np.concatenate([part[rows] for part in parts], axis=2).reshape(n, len(weights) - 1)
        sums = around @ weights[:-1]
        sums += np.outer(self._fineness[places], weights[-1])
        sums += self._inter_bias[number, a:b]
        has_mean = self._prior.has("inter_mean", chunk, number)
        lost = self._lost_signed
        return _tables(sums, self._sums("inter_mean", lost, step, rows) if has_mean else None)

    def _sums(
        self, kind: str, source: NDArray[np.float32], step: Step, rows: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """(n, channels): whole rows of the grid are far faster to gather than parts of them, so
        inputs beyond the chunk's end get zeros for weights; of a few widths, for less work.
        """
        channels = min(1 << (step.chunk.end - 1).bit_length(), source.shape[1])
        inputs = source[:, :channels].take(rows, axis=0).reshape(len(rows), NEIGHBOURS * channels)
        return inputs @ self._prior.widened(kind, step.chunk, step.number, channels)

    def reference_symbols(self, step: Step, places: Places) -> NDArray[np.int32]:
        """Return R (n, channels of the chunk)."""
        assert self._reference is not None
        return self._reference.symbols[places, step.chunk.start : step.chunk.end]

    def put(self, step: Step, symbols: NDArray[np.int32]) -> None:
        """Tell the symbols (n, channels) of a step; the next may depend on them."""
        self._put(step.places, slice(step.chunk.start, step.chunk.end), symbols)

    def _put(self, places: Places, channels: slice, symbols: NDArray[np.int32]) -> None:
        self.symbols[places, channels] = symbols
        at = self._inner[places]
        self._known[at, channels] = self._magnitude(symbols)
        self._signed[at, channels] = _held(symbols)
        reference = self._reference
        if reference is None or not reference.changed[places].any():
            return
        there = reference.num_channels[places] >= channels.stop
        lost = np.where(there[:, np.newaxis], symbols - reference.symbols[places, channels], 0)
        self._lost[at, channels] = self._magnitude(lost)
        self._lost_signed[at, channels] = _held(lost)

    def _magnitude(self, values: NDArray[np.int32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._prior.magnitudes[np.minimum(np.abs(values), 255)]
        return found


def _held(values: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.clip(values, -MAX_MEAN_INPUT, MAX_MEAN_INPUT)


def _tables(
    sums: NDArray[np.float32], means: NDArray[np.float32] | None
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The table and the whole part of the mean of each symbol, from sums of integers."""
    index = np.clip(sums.astype(np.int32) >> SCALE_BITS, 0, NUM_SCALES - 1) * FRACTIONS
    if means is None:
        return index + FRACTIONS // 2, np.zeros((1, 1), np.int32)
    eighths = (means.astype(np.int32) + (1 << MEAN_BITS - 1)) >> MEAN_BITS
    whole = (eighths + FRACTIONS // 2) // FRACTIONS
    return index + (eighths - FRACTIONS * whole + FRACTIONS // 2), whole


@lru_cache(maxsize=16)
def _grid(h: int, w: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The nine rows (h * w, 9) of each place in the bordered grid, and its own (h * w,)."""
    own = (np.arange(1, h + 1)[:, np.newaxis] * (w + 2) + np.arange(1, w + 1)).ravel()
    around = (np.arange(-1, 2)[:, np.newaxis] * (w + 2) + np.arange(-1, 2)).ravel()
    return own[:, np.newaxis] + around, own


@lru_cache(maxsize=32)
def _passes(h: int, w: int, count: int) -> tuple[Places, ...]:
    i, j = np.indices((h, w)) % 2
    rest = i != j
    first = [~rest] if count == 2 else [~rest & (i == 0), ~rest & (i == 1)]
    return tuple(np.flatnonzero(mask) for mask in (*first, rest))
