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
    FRACTION_BITS,
    FRACTIONS,
    MAX_FINENESS,
    MAX_MEAN_INPUT,
    MEAN_BITS,
    NUM_SCALES,
    SCALE_BITS,
    Chunk,
    ContextPrior,
)

Places = NDArray[np.intp]  # numbers in the h * w grid, in its order


@dataclass(frozen=True, eq=False)
class Reference:
    """The symbols of another frame at the quality of the one that is coded."""

    symbols: NDArray[np.int32]  # (h * w, M), zero where it lacks the channel
    there: NDArray[np.intp]  # (h * w,), channels that it has
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
        self._magnitudes = prior.signed_magnitudes
        self.symbols = np.zeros((hw[0] * hw[1], num_channels), np.int32)
        if reference is not None:
            self._inter_bias = prior.bias_at(quality, inter=True)
            still = ~reference.changed
            self.symbols[still] = reference.symbols[still, :num_channels]
            steps = reference.fineness * 16 // QUALITY_STEPS
            self._fineness = np.clip(steps, 0, MAX_FINENESS).astype(np.float32)

    def steps(self, start: int, end: int) -> Iterator[Step]:
        """Give the steps of the chunks from channel `start` to channel `end`, the last of a group;
        all symbols of channels below are known.
        """
        self._begin(start, end)
        kept = None if self._reference is None else self._reference.changed
        for chunk in self._prior.chunks:
            if start <= chunk.start and chunk.end <= end:
                for number, places in enumerate(_passes(*self._hw, chunk.passes)):
                    yield Step(chunk, number, places if kept is None else places[kept[places]])

    def _begin(self, start: int, end: int) -> None:
        """Lay out what the steps of a group see: the channels up to its end, and no others."""
        reference, magnitudes, at = self._reference, self._magnitudes, self._inner
        size = (self._hw[0] + 2) * (self._hw[1] + 2)
        self._known = np.zeros((size, end), np.float32)  # lut(|N|)
        self._signed = np.zeros((size, end), np.float32)  # N, held
        self._signed[at] = np.clip(self.symbols[:, :end], -MAX_MEAN_INPUT, MAX_MEAN_INPUT)
        if reference is None:
            if start:
                self._known[at] = magnitudes[self.symbols[:, :end]]
            return
        # as the reference where nothing changed, which is nearly everywhere
        changed = np.flatnonzero(reference.changed)
        coded, before = self.symbols[changed, :end], reference.symbols[changed, :end]
        has = np.arange(end) < reference.there[changed, np.newaxis]
        lost = np.where(has, coded - before, 0)
        lost[:, start:] = 0  # not decoded yet
        self._mixed = np.zeros((size, 3 * end + 1), np.float32)  # and lut(|D|), lut(|R|), changes
        other = magnitudes[reference.symbols[:, :end]]
        self._known[at] = self._mixed[at, 2 * end : -1] = other
        self._known[at[changed]] = magnitudes[coded]
        self._mixed[:, :end] = self._known
        self._mixed[at[changed], end : 2 * end] = magnitudes[lost]
        self._mixed[at[changed], -1] = 1
        self._lost = np.zeros((size, end), np.float32)  # D, held
        self._lost[at[changed]] = np.clip(lost, -MAX_MEAN_INPUT, MAX_MEAN_INPUT)

    def has_reference(self, step: Step) -> NDArray[np.bool_]:
        """(n,) whether the step's channels are there to be differed from at each of its places."""
        if self._reference is None or not self._prior.has("inter", step.chunk, step.number):
            return np.zeros(len(step.places), np.bool_)
        has: NDArray[np.bool_] = self._reference.there[step.places] >= step.chunk.end
        return has

    def predict(
        self, step: Step, is_alone: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the tables of a step's symbols (n, channels of the chunk), and what is taken off
        them, of places that are coded alone and of others.

        Args:
            step: Whose symbols.
            is_alone: (h * w,).
        """
        differs = self.has_reference(step) & ~is_alone[step.places]
        if not differs.any():
            return self.alone(step, step.places)
        index = np.empty((len(step.places), step.chunk.end - step.chunk.start), np.int32)
        base = np.empty_like(index)
        index[~differs], base[~differs] = self.alone(step, step.places[~differs])
        places = step.places[differs]
        index[differs], mean = self.differing(step, places)
        base[differs] = mean + self.reference_symbols(step, places)
        return index, base

    def alone(self, step: Step, places: Places) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return tables and means (n, channels of the chunk) of symbols that are coded alone."""
        chunk, number = step.chunk, step.number
        rows = self._rows[places]  # (n, 9)
        sums = self._sums("intra", self._known, step, rows)
        sums += self._bias[number, chunk.start : chunk.end]
        has_mean = self._prior.has("mean", chunk, number)
        return _tables(sums, self._sums("mean", self._signed, step, rows) if has_mean else None)

    def differing(self, step: Step, places: Places) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return tables and means (n, channels) of differences to R; R is not in the means."""
        assert self._reference is not None
        chunk, number = step.chunk, step.number
        rows, end = self._rows[places], self._known.shape[1]
        weights, of_fineness = self._prior.mixed(chunk, number, end)
        sums = self._mixed.take(rows, axis=0).reshape(len(rows), len(weights)) @ weights
        sums += self._fineness[places, np.newaxis] * of_fineness
        sums += self._inter_bias[number, chunk.start : chunk.end]
        has_mean = self._prior.has("inter_mean", chunk, number)
        return _tables(sums, self._sums("inter_mean", self._lost, step, rows) if has_mean else None)

    def _sums(
        self, kind: str, source: NDArray[np.float32], step: Step, rows: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """(n, channels): whole rows of the grid are far faster to gather than parts of them, so
        inputs beyond the chunk's end get zeros for weights; of a few widths, for less work.
        """
        channels = min(1 << (step.chunk.end - 1).bit_length(), source.shape[1])
        narrow = source if channels * 2 > source.shape[1] else source[:, :channels]
        inputs = narrow.take(rows, axis=0)  # (n, 9, channels)
        weights = self._prior.widened(kind, step.chunk, step.number, narrow.shape[1])
        return inputs.reshape(len(rows), len(weights)) @ weights

    def reference_symbols(self, step: Step, places: Places) -> NDArray[np.int32]:
        """Return R (n, channels of the chunk)."""
        assert self._reference is not None
        return self._reference.symbols[places, step.chunk.start : step.chunk.end]

    def put(self, step: Step, symbols: NDArray[np.int32]) -> None:
        """Tell the symbols (n, channels) of a step; the next may depend on them."""
        a, b, at = step.chunk.start, step.chunk.end, self._inner[step.places]
        self.symbols[step.places, a:b] = symbols
        self._known[at, a:b] = magnitudes = self._magnitudes[symbols]
        self._signed[at, a:b] = symbols.clip(-MAX_MEAN_INPUT, MAX_MEAN_INPUT)
        if (reference := self._reference) is None:
            return
        has = reference.there[step.places, np.newaxis] >= b
        lost = (symbols - reference.symbols[step.places, a:b]) * has
        end = self._known.shape[1]
        self._mixed[at, a:b] = magnitudes
        self._mixed[at, end + a : end + b] = self._magnitudes[lost]
        self._lost[at, a:b] = lost.clip(-MAX_MEAN_INPUT, MAX_MEAN_INPUT)


def _tables(
    sums: NDArray[np.float32], means: NDArray[np.float32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The table and the whole part of the mean of each symbol, from sums of integers."""
    scale = sums.astype(np.int32) >> SCALE_BITS
    np.minimum(np.maximum(scale, 0, out=scale), NUM_SCALES - 1, out=scale)
    if means is None:
        return scale * FRACTIONS + FRACTIONS // 2, np.zeros((1, 1), np.int32)
    eighths = means.astype(np.int32)
    eighths += (1 << MEAN_BITS - 1) + (FRACTIONS // 2 << MEAN_BITS)  # rounded, and counted from -4
    eighths >>= MEAN_BITS
    return scale * FRACTIONS + (eighths & FRACTIONS - 1), eighths >> FRACTION_BITS


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
