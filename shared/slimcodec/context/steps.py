"""The steps of a frame, coded one after another; here with numpy, in `steps.c` the same in C.

symbols -choose-> which changed places are alone -encode-> data of sections -decode-> symbols
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slimcodec.context.flags import decode_flags, encode_flags
from slimcodec.context.prior import ContextPrior
from slimcodec.context.walk import Reference, Walk
from slimcodec.entropy.steps import StepDecoder, StepEncoder
from slimcodec.errors import DamagedContainerError
from slimcodec.symbols import MAX_SYMBOL

Flags = NDArray[np.bool_]
Symbols = NDArray[np.int32]  # (h * w, M)


@dataclass(frozen=True, eq=False)
class Given:
    """What both sides know of a frame before its sections."""

    quality: float  # rounded
    hw: tuple[int, int]  # of the latent
    reference: Reference | None = None  # None: every place is coded, alone


class Steps(Protocol):
    """Takes the steps of one prior's frames; safe from many threads."""

    def encode_flags(self, changed: Flags, alone: Flags, before: Flags, finer: Flags) -> bytes:
        """As `slimcodec.context.flags.encode_flags`."""

    def decode_flags(self, data: bytes, before: Flags, finer: Flags) -> tuple[Flags, Flags]:
        """As `slimcodec.context.flags.decode_flags`."""

    def choose(self, given: Given, symbols: Symbols) -> Flags:
        """(h * w,) whether a place takes fewer bits alone, or has no choice."""

    def encode(
        self, given: Given, symbols: Symbols, alone: Flags, start: int, ends: Sequence[int]
    ) -> list[bytes]:
        """Return the data of sections.

        Args:
            given: Of the frame.
            symbols: Of all places that are coded.
            alone: (h * w,), of the places that are coded.
            start: The channels below are the reader's already.
            ends: The channel after each section.
        """

    def decode(self, given: Given, alone: Flags, ends: Sequence[int], data: list[bytes]) -> Symbols:
        """Return the symbols of sections from channel 0 on; the inverse of `encode`.

        Raises:
            DamagedContainerError: the data contradict the tables or themselves.
        """


class NumpySteps:
    """`Steps` wherever numpy is; a test compares the others with it."""

    def __init__(self, prior: ContextPrior) -> None:
        self._prior = prior

    def encode_flags(self, changed: Flags, alone: Flags, before: Flags, finer: Flags) -> bytes:
        """See `Steps`."""
        return encode_flags(self._prior, changed, alone, before, finer)

    def decode_flags(self, data: bytes, before: Flags, finer: Flags) -> tuple[Flags, Flags]:
        """See `Steps`."""
        return decode_flags(self._prior, data, before, finer)

    def choose(self, given: Given, symbols: Symbols) -> Flags:
        """See `Steps`."""
        walk = self._walk(given, symbols.shape[1])
        saved = np.zeros(len(symbols), np.int64)  # by differences
        compared = np.zeros(len(symbols), np.bool_)
        for step in walk.steps(0, symbols.shape[1]):
            of_step = symbols[step.places, step.chunk.start : step.chunk.end]
            there = walk.has_reference(step)
            if len(places := step.places[there]):
                wanted = of_step[there]
                index, mean = walk.alone(step, places)
                saved[places] += self._prior.bits(wanted - mean, index).sum(1)
                index, mean = walk.differing(step, places)
                lost = wanted - walk.reference_symbols(step, places)
                saved[places] -= self._prior.bits(lost - mean, index).sum(1)
                compared[places] = True
            walk.put(step, of_step)
        return ~compared | (saved < 0)

    def encode(
        self, given: Given, symbols: Symbols, alone: Flags, start: int, ends: Sequence[int]
    ) -> list[bytes]:
        """See `Steps`."""
        walk, data = self._walk(given, symbols.shape[1]), []
        for step in walk.steps(0, start):
            walk.put(step, symbols[step.places, step.chunk.start : step.chunk.end])
        for end in ends:
            coder = StepEncoder()
            for step in walk.steps(start, end):
                of_step = symbols[step.places, step.chunk.start : step.chunk.end]
                index, base = walk.predict(step, alone)
                coder.add((of_step - base).ravel(), self._prior.tables, index.ravel())
                walk.put(step, of_step)
            data.append(coder.finish())
            start = end
        return data

    def decode(self, given: Given, alone: Flags, ends: Sequence[int], data: list[bytes]) -> Symbols:
        """See `Steps`."""
        walk, start = self._walk(given, ends[-1]), 0
        for end, section in zip(ends, data, strict=True):
            coder = StepDecoder(section)
            for step in walk.steps(start, end):
                index, base = walk.predict(step, alone)
                taken = coder.take(self._prior.tables, index.ravel()).reshape(index.shape)
                symbols = taken.astype(np.int64) + base
                if symbols.size and max(symbols.max(), -symbols.min()) > MAX_SYMBOL:
                    raise DamagedContainerError(f"a symbol is beyond +-{MAX_SYMBOL}")
                walk.put(step, symbols.astype(np.int32))
            coder.finish()
            start = end
        return walk.symbols

    def _walk(self, given: Given, num_channels: int) -> Walk:
        return Walk(self._prior, given.quality, given.hw, num_channels, given.reference)
