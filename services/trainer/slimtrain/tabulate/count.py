"""Symbols, flags and modes counted along the walk that edge and cloud take: tables, frequencies."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS
from slimcodec.context.compiled import find_steps
from slimcodec.context.flags import change_contexts, neighbours
from slimcodec.context.prior import CHANGE_CONTEXTS, MODE_CONTEXTS, ContextPrior
from slimcodec.context.steps import Given
from slimcodec.context.walk import Reference, Walk
from slimcodec.entropy.symbol_tables import PRECISION_BITS
from slimnets.export.tabulate import to_tables
from slimtrain.tabulate.frames import InterFrame, Symbols
from slimtrain.tabulate.integers import REACH, laplace_weights, table_scales
from slimtrain.tabulate.latents import Latent

# so that no symbol costs nothing: what a container may hold is bounded by its bytes
_MOST_PROBABLE = 2**-0.005
# the parametric table weighs as many observed symbols, times its scale: wide ones are sparse
_PRIOR_COUNT = 32.0
_PRIOR_FLAGS = 8.0  # the same of flags and modes, of all contexts together
_BINS = 2 * REACH + 1


@dataclass(eq=False)
class Counts:
    """What was counted so far; smoothed where something is made of it."""

    symbols: NDArray[np.float64] = field(default_factory=lambda: _prior_counts())  # by table
    # by context: no, yes
    changed: NDArray[np.float64] = field(default_factory=lambda: np.zeros((CHANGE_CONTEXTS, 2)))
    alone: NDArray[np.float64] = field(default_factory=lambda: np.zeros((MODE_CONTEXTS, 2)))

    def add_key(self, prior: ContextPrior, symbols: Latent, quality: float) -> None:
        """Count the symbols (M, h, w) of a picture, coded alone."""
        M, *hw = symbols.shape
        walk = Walk(prior, quality, (hw[0], hw[1]), M)
        values = _by_place(symbols)
        for step in walk.steps(0, M):
            wanted = values[step.places, step.chunk.start : step.chunk.end]
            index, mean = walk.alone(step, step.places)
            self._add(wanted - mean, index)
            walk.put(step, wanted)

    def add_inter(self, prior: ContextPrior, frame: InterFrame) -> None:
        """Count a frame, each changed place in the mode that takes fewer bits by `prior`."""
        M, *hw = frame.symbols.shape
        values = _by_place(frame.symbols)
        reference = Reference(
            _by_place(frame.reference),
            frame.there.ravel(),
            np.rint(frame.fineness.ravel() * QUALITY_STEPS).astype(np.intp),
            frame.changed.ravel(),
        )
        given = Given(frame.quality, (hw[0], hw[1]), reference)
        alone = find_steps(prior).choose(given, values)
        walk = Walk(prior, given.quality, given.hw, M, reference)
        for step in walk.steps(0, M):
            wanted = values[step.places, step.chunk.start : step.chunk.end]
            index, base = walk.predict(step, alone)
            self._add(wanted - base, index)
            walk.put(step, wanted)
        modes = neighbours(frame.changed)[frame.changed], alone.reshape(hw)[frame.changed]
        np.add.at(self.alone, (modes[0], modes[1].astype(np.intp)), 1)

    def add_flags(self, frame: InterFrame) -> None:
        """Count which places changed."""
        known, finer = np.zeros_like(frame.changed), frame.fineness > 0
        i, j = np.indices(known.shape)
        for first in (True, False):
            places = ((i + j) % 2 == 0) == first
            index = change_contexts(known, frame.before, finer, first)[places]
            np.add.at(self.changed, (index, frame.changed[places].astype(np.intp)), 1)
            known[places] = frame.changed[places]

    def made(self, prior: ContextPrior) -> ContextPrior:
        """The prior with the tables and frequencies that were counted."""
        p = self.symbols / self.symbols.sum(1, keepdims=True)
        rows, top = np.arange(len(p)), p.argmax(1)
        most = np.minimum(p[rows, top], _MOST_PROBABLE)
        p *= ((1 - most) / (1 - p[rows, top]))[:, np.newaxis]
        p[rows, top] = most
        return replace(
            prior,
            tables=to_tables(p),
            changed=_frequencies(self.changed),
            alone=_frequencies(self.alone),
        )

    def _add(self, coded: NDArray[np.int32], index: NDArray[np.intp]) -> None:
        flat = index * _BINS + np.clip(coded, -REACH, REACH) + REACH
        self.symbols += np.bincount(flat.ravel(), minlength=self.symbols.size).reshape(-1, _BINS)


def _prior_counts() -> NDArray[np.float64]:
    """(384, 2 * REACH + 1)."""
    weight = _PRIOR_COUNT * np.maximum(1, table_scales())
    return weight[:, np.newaxis] * laplace_weights()


def _by_place(symbols: Latent | Symbols) -> NDArray[np.int32]:
    """(M, h, w) -> (h * w, M)."""
    return symbols.reshape(len(symbols), -1).T.astype(np.int32)


def _frequencies(counted: NDArray[np.float64]) -> NDArray[np.int32]:
    """(contexts, 2) -> of 2**16 that of "yes"; a context that was never met has that of all."""
    of_all = (counted.sum(0) + 1) / (counted.sum() + 2)
    smoothed = counted + _PRIOR_FLAGS * of_all
    share = smoothed[:, 1] / smoothed.sum(1)
    total = 1 << PRECISION_BITS
    # bounded as the symbols' tables are
    least = 1 - _MOST_PROBABLE
    held: NDArray[np.int32] = np.rint(total * np.clip(share, least, 1 - least)).astype(np.int32)
    return held
