"""Symbols of a frame <-> the sections of a container of version 3.

    intra      every place is coded alone
    inter      the map of changes; of the places that changed, each alone or as differences to the
               reference; all others stay as they are in it
    enhancement of either: the channel groups above the base's, at the places of the base

In a step places come in the order of the grid, channel after channel, whether they are coded alone
or as differences. A place whose reference lacks a chunk has it coded alone, and so has every place
where the prior has no weights for differences.

A reference may have another quality, and each place its own. Its symbols at the frame's quality are

    R = rint(symbol * (gain[frame's] / gain[place's])), held to +-32767

with float32 gains (`slimcodec.entropy.gain`), the rest in float64, ties to even, each
step rounded once as IEEE 754 has it: both ends have the same R. Of one quality the ratio is 1.

After an inter frame the places that changed have its level and quality and its symbols; all others
keep what they had, their symbols at the quality that they had. An enhancement adds channels to the
places that its base coded: what is held then is as if the base had had the level of the
enhancement, with the same changes and modes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS, Container, Section, to_fixed
from slimcodec.context.compiled import find_steps
from slimcodec.context.prior import ContextPrior
from slimcodec.context.steps import Given
from slimcodec.context.walk import Reference
from slimcodec.entropy.gain import gain_at
from slimcodec.errors import DamagedContainerError
from slimcodec.symbols import FrameSymbols, check_holds, round_symbols

# A place changed where coding it takes more than this off the mean squared error of its symbols; in
# one that changed, symbols within the second keep the reference's value. Larger ones cost accuracy
# (studies/results/decision-tables.md).
CHANGE_GAIN = 3 / 32
KEEP_THRESHOLD = 0.7


class ContextCoder:
    """Codes frames of one codec; safe from many threads.

    Args:
        prior: Of the codec.
        gain: (Q, M), which scales a reference from one quality to another.
        widths: Channels at each level.
    """

    def __init__(
        self, prior: ContextPrior, gain: NDArray[np.float32], widths: Sequence[int]
    ) -> None:
        self._prior, self._gain, self._widths = prior, gain, tuple(widths)
        self._steps = find_steps(prior)

    def load(self, level: int) -> None:
        """Load what coding at a level needs: nothing."""

    def chosen(
        self, v: NDArray[np.float32], frame: Container, reference: FrameSymbols | None
    ) -> NDArray[np.int32]:
        """Return the symbols (M_l, h, w) that a gained latent gets where it is coded."""
        values = v.transpose(1, 2, 0).reshape(-1, len(v))
        symbols, _, _ = self._symbols(values, frame, reference)
        return symbols.T.reshape(v.shape)

    def _symbols(
        self, values: NDArray[np.float32], frame: Container, reference: FrameSymbols | None
    ) -> tuple[NDArray[np.int32], Reference | None, NDArray[np.bool_]]:
        """The symbols of values (h * w, M), the reference at their quality, and what changed."""
        symbols, M = round_symbols(values), values.shape[1]
        if reference is None:
            return symbols, None, np.ones(len(values), np.bool_)
        known, exact = self._at_quality(reference, frame, max(M, reference.symbols.shape[2]))
        known = replace(known, symbols=known.symbols[:, :M].copy())
        has = np.arange(M) < known.there[:, np.newaxis]
        keeps = has & (np.abs(values - known.symbols) <= KEEP_THRESHOLD)
        symbols = np.where(keeps, known.symbols, symbols)
        changed = gain_of_change(*self._comparable(values, symbols, exact, known, reference, frame))
        return symbols, known, changed > CHANGE_GAIN

    def _comparable(
        self,
        values: NDArray[np.float32],
        symbols: NDArray[np.int32],
        exact: NDArray[np.float64],
        known: Reference,
        reference: FrameSymbols,
        frame: Container,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """What `gain_of_change` compares: where the reference is coarser, at the reference's point.

        Else a finer frame would code all places again, whether or not anything moved; what stands
        still becomes finer by a key, or by a refinement.
        """
        M, to = values.shape[1], to_fixed(frame.quality)
        qualities = reference.qualities.ravel()
        coarser = {quality for quality in qualities.tolist() if quality < to}
        if not coarser and known.there.min() >= exact.shape[1]:  # nearly always, and far faster
            return values.T, symbols.T, exact.T
        step = (np.arange(exact.shape[1]) < known.there[:, np.newaxis]).astype(np.float64)
        gain = gain_at(self._gain, frame.quality).astype(np.float64)
        for quality in coarser:
            ratio = gain_at(self._gain, quality / QUALITY_STEPS) / gain
            step[qualities == quality] *= ratio[: step.shape[1]]
        values = values * step[:, :M]
        symbols = np.where(step[:, :M] == 1, symbols, np.rint(values))
        return values.T, symbols.T, (exact * step).T

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
        symbols, known, changed = self._symbols(values, frame, reference)
        if known is not None:
            if places is not None:
                changed = places.ravel()
            known = replace(known, changed=changed)
        given, alone = Given(frame.quality, hw, known), np.ones(len(symbols), np.bool_)
        if reference is not None and known is not None:
            alone = self._choose(given, symbols)
            flags = known.changed.reshape(hw), alone.reshape(hw), reference.changed
            data = self._steps.encode_flags(*flags, _finer(known, hw))
            frame = replace(frame, changes=data, is_inter=True, reference=reference.digest)
        frame = replace(frame, sections=self._sections(given, symbols, alone, frame))
        return frame, self._after(frame, symbols, hw, reference, known)

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
        symbols, known, alone = self._symbols(values, frame, reference)
        if reference is not None and known is not None:
            known, alone = self._changes(base, known, reference, hw)
        lower = self._widths[base.level]
        of_base = base_symbols.symbols.reshape(len(symbols), -1)[:, :lower]
        symbols[:, : of_base.shape[1]] = of_base  # has fewer channels where nothing changed
        frame = replace(
            frame,
            sections=self._sections(Given(frame.quality, hw, known), symbols, alone, frame),
            is_inter=reference is not None,
            reference=base_symbols.digest,
        )
        return frame, self._after(frame, symbols, hw, reference, known)

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
            known, _ = self._at_quality(reference, frame, M)
            known, alone = self._changes(frame, known, reference, hw)
        count = hw[0] * hw[1] if known is None else int(known.changed.sum())
        if not count:
            if any(section.data for section in frame.sections):
                raise DamagedContainerError("data holds more than the symbols: nothing changed")
            return self._after(frame, np.zeros((len(alone), M), np.int32), hw, reference, known)
        ends = self._widths[: len(frame.sections)]
        for section, size in zip(frame.sections, np.diff(ends, prepend=0).tolist(), strict=True):
            check_holds(section, count * size * self._prior.least_bits)
        data = [section.data for section in frame.sections]
        symbols = self._steps.decode(Given(frame.quality, hw, known), alone, ends, data)
        return self._after(frame, symbols, hw, reference, known)

    def before(self, symbols: FrameSymbols, enhancement: Container) -> FrameSymbols:
        """Return what a reader held before an enhancement that led to these symbols."""
        coded = symbols.changed if enhancement.is_inter else np.ones_like(symbols.changed)
        level = enhancement.first_group - 1
        levels = np.where(coded, np.uint8(level), symbols.levels)
        held = symbols.symbols[:, :, : self._widths[int(levels.max())]].copy()
        held[coded, self._widths[level] :] = 0
        return replace(symbols, symbols=held, levels=levels)

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

    def _changes(
        self, frame: Container, known: Reference, reference: FrameSymbols, hw: tuple[int, int]
    ) -> tuple[Reference, NDArray[np.bool_]]:
        flags = frame.changes, reference.changed, _finer(known, hw)
        changed, alone = self._steps.decode_flags(*flags)
        return replace(known, changed=changed.ravel()), alone.ravel()

    def _at_quality(
        self, reference: FrameSymbols, frame: Container, num_channels: int
    ) -> tuple[Reference, NDArray[np.float64]]:
        """A reference's symbols at a frame's quality: rounded, and as they are.

        A ratio of two gains, a product and a rounding, each of which IEEE 754 makes exact.
        """
        h, w, have = reference.symbols.shape
        shared = min(have, num_channels)
        flat = reference.symbols.reshape(h * w, have)[:, :shared]
        qualities, to = reference.qualities.ravel(), to_fixed(frame.quality)
        exact = np.zeros((h * w, num_channels))
        exact[:, :shared] = flat
        gain = gain_at(self._gain, frame.quality)[:shared].astype(np.float64)
        for quality in set(qualities.tolist()) - {to}:
            at = qualities == quality
            exact[at, :shared] *= gain / gain_at(self._gain, quality / QUALITY_STEPS)[:shared]
        channels = np.asarray(self._widths)[reference.levels.ravel()]
        known = Reference(
            round_symbols(exact),
            channels,
            to - qualities.astype(np.intp),
            np.zeros(h * w, np.bool_),
        )
        return known, exact

    def _after(
        self,
        frame: Container,
        symbols: NDArray[np.int32],
        hw: tuple[int, int],
        reference: FrameSymbols | None,
        known: Reference | None,
    ) -> FrameSymbols:
        """What both sides hold after a frame with these symbols (h * w, M) at its places."""
        shaped = symbols.reshape(*hw, -1).astype(np.int16)
        level, quality = np.uint8(frame.level), np.uint16(to_fixed(frame.quality))
        if reference is None or known is None:
            return FrameSymbols(
                frame.fingerprint,
                frame.image_hw,
                shaped,
                np.full(hw, level),
                np.full(hw, quality),
                np.zeros(hw, np.bool_),
            )
        changed = known.changed.reshape(hw)
        levels = np.where(changed, level, reference.levels)
        M = self._widths[int(levels.max())]
        held = np.zeros((*hw, M), np.int16)
        kept = min(M, reference.symbols.shape[2])
        held[:, :, :kept] = reference.symbols[:, :, :kept]
        held[changed] = 0
        held[changed, : shaped.shape[2]] = shaped[changed, :M]  # M is less where nothing changed
        qualities = np.where(changed, quality, reference.qualities)
        return FrameSymbols(
            frame.fingerprint,
            frame.image_hw,
            held,
            levels,
            qualities,
            changed,
            reference.depth + 1,
        )


def gain_of_change(
    values: NDArray[np.float32], symbols: NDArray[np.int32], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (...) how much of the squared error of places is gone when they are coded, over the
    number of symbols that are coded there.

    Channels that are not coded are zero then, and count as if the reference had them right: so a
    place that is fine and stands still is not made coarse for a little noise.

    Args:
        values: (M, ...), gained.
        symbols: (M, ...) that they get.
        reference: (at least M, ...) what is there otherwise, at the same quality.
    """
    M = len(values)
    known, lost = reference[:M], reference[M:]
    # (values - known)**2 - (values - symbols)**2, summed
    gain = np.einsum("i...,i...", symbols - known, 2 * values - symbols - known)
    gain -= np.einsum("i...,i...", lost, lost)
    of_symbol: NDArray[np.float64] = gain / M
    return of_symbol


def _finer(known: Reference, hw: tuple[int, int]) -> NDArray[np.bool_]:
    finer: NDArray[np.bool_] = (known.fineness > 0).reshape(hw)
    return finer
