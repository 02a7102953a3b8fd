"""Symbols of a frame <-> the sections of a container of version 3.

    intra      every place is coded alone
    inter      the map of changes; of the places that changed, each alone or as differences to the
               reference; all others stay as they are in it
    enhancement of either: the channel groups above the base's, at the places of the base

In a step places come in the order of the grid, channel after channel, whether they are coded alone
or as differences. A place whose reference lacks a chunk has it coded alone, and so has every place
where the prior has no weights for differences. What changed, and what a reader holds then:
`slimcodec.context.changes`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import Container, Section
from slimcodec.context.changes import DEFAULT_HYSTERESIS, Changes, Hysteresis
from slimcodec.context.compiled import find_steps
from slimcodec.context.prior import ContextPrior
from slimcodec.context.steps import Given
from slimcodec.context.walk import Reference
from slimcodec.errors import DamagedContainerError
from slimcodec.symbols import FrameSymbols, check_holds, round_symbols


class ContextCoder:
    """Codes frames of one codec; safe from many threads.

    Args:
        prior: Of the codec.
        gain: (Q, M), which scales a reference from one quality to another.
        widths: Channels at each level.
        hysteresis: Of what is encoded.
    """

    def __init__(
        self,
        prior: ContextPrior,
        gain: NDArray[np.float32],
        widths: Sequence[int],
        hysteresis: Hysteresis = DEFAULT_HYSTERESIS,
    ) -> None:
        self._prior, self._widths = prior, tuple(widths)
        self._changes = Changes(gain, widths, hysteresis)
        self._steps = find_steps(prior)

    def load(self, level: int) -> None:
        """Load what coding at a level needs: nothing."""

    def encode(
        self,
        v: NDArray[np.float32],
        frame: Container,
        reference: FrameSymbols | None = None,
        places: NDArray[np.bool_] | None = None,
    ) -> tuple[Container, FrameSymbols]:
        """Return the container of a base, and what its reader holds then.

        Args:
            v: The gained latent at the frame's level, (M_l, h, w).
            frame: The container, still without sections and reference.
            reference: What the reader has; None: an intra frame.
            places: (h, w), with a reference, which ones are coded; None: those that changed.
        """
        hw, M = (v.shape[1], v.shape[2]), len(v)
        values = np.ascontiguousarray(v.transpose(1, 2, 0)).reshape(-1, M)
        symbols, known = self._symbols(values, frame, reference)
        if known is not None and places is not None:
            known = replace(known, changed=places.ravel())
        given, alone = Given(frame.quality, hw, known), np.ones(len(symbols), np.bool_)
        if reference is not None and known is not None:
            alone = self._choose(given, symbols)
            flags = known.changed.reshape(hw), alone.reshape(hw), reference.changed
            data = self._steps.encode_flags(*flags, _finer(known, hw))
            frame = replace(frame, changes=data, is_inter=True, reference=reference.digest)
        frame = replace(frame, sections=self._sections(given, symbols, alone, frame))
        return frame, self._changes.after(frame, symbols, hw, reference, known)

    def enhance(
        self,
        v: NDArray[np.float32],
        frame: Container,
        base: Container,
        base_symbols: FrameSymbols,
        reference: FrameSymbols | None,
    ) -> tuple[Container, FrameSymbols]:
        """Return the enhancement of a base, and what its reader holds then."""
        hw, M = (v.shape[1], v.shape[2]), len(v)
        values = np.ascontiguousarray(v.transpose(1, 2, 0)).reshape(-1, M)
        symbols, known = self._symbols(values, frame, reference)
        alone = np.ones(len(symbols), np.bool_)
        if reference is not None and known is not None:
            known, alone = self._flags(base, known, reference, hw)
        lower = self._widths[base.level]
        of_base = base_symbols.symbols.reshape(len(symbols), -1)[:, :lower]
        symbols[:, : of_base.shape[1]] = of_base  # has fewer channels where nothing changed
        frame = replace(
            frame,
            sections=self._sections(Given(frame.quality, hw, known), symbols, alone, frame),
            is_inter=reference is not None,
            reference=base_symbols.digest,
        )
        return frame, self._changes.after(frame, symbols, hw, reference, known)

    def decode(
        self, frame: Container, hw: tuple[int, int], reference: FrameSymbols | None
    ) -> FrameSymbols:
        """Return what the sections of a whole level give.

        Args:
            frame: A base, or one to which the sections of its enhancement were joined.
            hw: Of the latent.
            reference: Of an inter frame.

        Raises:
            DamagedContainerError: the sections contradict the tables or themselves.
        """
        M, known = self._widths[frame.level], None
        alone = np.ones(hw[0] * hw[1], np.bool_)
        if reference is not None:
            known = self._changes.known(reference, frame.quality, M)
            known, alone = self._flags(frame, known, reference, hw)
        count = hw[0] * hw[1] if known is None else int(known.changed.sum())
        if not count:
            if any(section.data for section in frame.sections):
                raise DamagedContainerError("data holds more than the symbols: nothing changed")
            return self._changes.after(
                frame, np.zeros((len(alone), M), np.int32), hw, reference, known
            )
        ends = self._widths[: len(frame.sections)]
        for section, size in zip(frame.sections, np.diff(ends, prepend=0).tolist(), strict=True):
            check_holds(section, count * size * self._prior.least_bits)
        data = [section.data for section in frame.sections]
        symbols = self._steps.decode(Given(frame.quality, hw, known), alone, ends, data)
        return self._changes.after(frame, symbols, hw, reference, known)

    def before(self, symbols: FrameSymbols, enhancement: Container) -> FrameSymbols:
        """Return what a reader held before an enhancement that led to these symbols."""
        coded = symbols.changed if enhancement.is_inter else np.ones_like(symbols.changed)
        level = enhancement.first_group - 1
        levels = np.where(coded, np.uint8(level), symbols.levels)
        held = symbols.symbols[:, :, : self._widths[int(levels.max())]].copy()
        held[coded, self._widths[level] :] = 0
        return replace(symbols, symbols=held, levels=levels)

    def _symbols(
        self, values: NDArray[np.float32], frame: Container, reference: FrameSymbols | None
    ) -> tuple[NDArray[np.int32], Reference | None]:
        if reference is None:
            return round_symbols(values), None
        return self._changes.find(values, frame.quality, reference)

    def _choose(self, given: Given, symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        return self._steps.choose(given, symbols)

    def _sections(
        self,
        given: Given,
        symbols: NDArray[np.int32],
        alone: NDArray[np.bool_],
        frame: Container,
    ) -> tuple[Section, ...]:
        ends = [self._widths[group] for group in frame.groups]
        start = self._widths[frame.first_group - 1] if frame.first_group else 0
        data = self._steps.encode(given, symbols, alone, start, ends)
        return tuple(
            Section(group, 0, part) for group, part in zip(frame.groups, data, strict=True)
        )

    def _flags(
        self, frame: Container, known: Reference, reference: FrameSymbols, hw: tuple[int, int]
    ) -> tuple[Reference, NDArray[np.bool_]]:
        flags = frame.changes, reference.changed, _finer(known, hw)
        changed, alone = self._steps.decode_flags(*flags)
        return replace(known, changed=changed.ravel()), alone.ravel()


def _finer(known: Reference, hw: tuple[int, int]) -> NDArray[np.bool_]:
    finer: NDArray[np.bool_] = (known.fineness > 0).reshape(hw)
    return finer
