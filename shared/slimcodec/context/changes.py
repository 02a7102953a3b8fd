"""What both sides hold of a camera, and what of the next frame changed against it.

A reference may have another quality, and each place its own. Its symbols at the frame's quality are

    R = rint(symbol * (gain[frame's] / gain[place's])), held to +-32767

with float32 gains (`slimcodec.entropy.gain`), the rest in float64, ties to even, each step rounded
once as IEEE 754 has it: both ends have the same R. Of one quality the ratio is 1.

After an inter frame the places that changed have its level and quality and its symbols; all others
keep what they had, their symbols at the quality that they had. An enhancement adds channels to the
places that its base coded: what is held then is as if the base had had the level of the
enhancement, with the same changes and modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS, Container, to_fixed
from slimcodec.context.walk import Reference
from slimcodec.entropy.gain import gain_at
from slimcodec.symbols import FrameSymbols, round_symbols


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """What an encoder leaves as it was. More of it costs accuracy, and fewer bytes: see the tables
    in studies/results/decision-tables.md.
    """

    change_gain: float = 3 / 32
    """a place changed where coding it takes more than this off its symbols' mean squared error"""
    keep_threshold: float = 0.7
    """in a place that changed, symbols that are no further off keep the reference's value"""


DEFAULT_HYSTERESIS = Hysteresis()


class Changes:
    """Holds frames of one codec against others; safe from many threads.

    Args:
        gain: (Q, M), which scales a reference from one quality to another.
        widths: Channels at each level.
        hysteresis: Of an encoder; a decoder has no use for it.
    """

    def __init__(
        self,
        gain: NDArray[np.float32],
        widths: Sequence[int],
        hysteresis: Hysteresis = DEFAULT_HYSTERESIS,
    ) -> None:
        self._gain, self._widths, self._hysteresis = gain, tuple(widths), hysteresis

    def find(
        self, values: NDArray[np.float32], quality: float, reference: FrameSymbols
    ) -> tuple[NDArray[np.int32], Reference]:
        """Return the symbols of a frame's values (h * w, M), and the reference at their quality,
        with what changed.

        Args:
            values: Gained.
            quality: Of the frame, rounded.
            reference: What the reader has.
        """
        symbols, M = round_symbols(values), values.shape[1]
        known, exact = self._at_quality(reference, quality, max(M, reference.symbols.shape[2]))
        known = replace(known, symbols=known.symbols[:, :M].copy())
        has = np.arange(M) < known.there[:, np.newaxis]
        keeps = has & (np.abs(values - known.symbols) <= self._hysteresis.keep_threshold)
        symbols = np.where(keeps, known.symbols, symbols)
        compared = self._comparable(values, symbols, exact, known, reference, quality)
        changed = gain_of_change(*compared) > self._hysteresis.change_gain
        return symbols, replace(known, changed=changed)

    def known(self, reference: FrameSymbols, quality: float, num_channels: int) -> Reference:
        """Return the first channels of a reference at the quality of a frame, without changes."""
        known, _ = self._at_quality(reference, quality, num_channels)
        return known

    def _comparable(
        self,
        values: NDArray[np.float32],
        symbols: NDArray[np.int32],
        exact: NDArray[np.float64],
        known: Reference,
        reference: FrameSymbols,
        quality: float,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """What `gain_of_change` compares: where the reference is coarser, at the reference's point.

        Else a finer frame would code all places again, whether or not anything moved; what stands
        still becomes finer by a key, or by a refinement.
        """
        M, to = values.shape[1], to_fixed(quality)
        qualities = reference.qualities.ravel()
        coarser = {of_place for of_place in qualities.tolist() if of_place < to}
        if not coarser and known.there.min() >= exact.shape[1]:  # nearly always, and far faster
            return values.T, symbols.T, exact.T
        step = (np.arange(exact.shape[1]) < known.there[:, np.newaxis]).astype(np.float64)
        gain = gain_at(self._gain, quality).astype(np.float64)
        for of_place in coarser:
            ratio = gain_at(self._gain, of_place / QUALITY_STEPS) / gain
            step[qualities == of_place] *= ratio[: step.shape[1]]
        values = values * step[:, :M]
        symbols = np.where(step[:, :M] == 1, symbols, np.rint(values))
        return values.T, symbols.T, (exact * step).T

    def _at_quality(
        self, reference: FrameSymbols, quality: float, num_channels: int
    ) -> tuple[Reference, NDArray[np.float64]]:
        """A reference's symbols at a frame's quality: rounded, and as they are.

        A ratio of two gains, a product and a rounding, each of which IEEE 754 makes exact.
        """
        h, w, have = reference.symbols.shape
        shared = min(have, num_channels)
        flat = reference.symbols.reshape(h * w, have)[:, :shared]
        qualities, to = reference.qualities.ravel(), to_fixed(quality)
        exact = np.zeros((h * w, num_channels))
        exact[:, :shared] = flat
        gain = gain_at(self._gain, quality)[:shared].astype(np.float64)
        for of_place in set(qualities.tolist()) - {to}:
            at = qualities == of_place
            exact[at, :shared] *= gain / gain_at(self._gain, of_place / QUALITY_STEPS)[:shared]
        channels = np.asarray(self._widths)[reference.levels.ravel()]
        known = Reference(
            round_symbols(exact),
            channels,
            to - qualities.astype(np.intp),
            np.zeros(h * w, np.bool_),
        )
        return known, exact

    def after(
        self,
        frame: Container,
        symbols: NDArray[np.int32],
        hw: tuple[int, int],
        reference: FrameSymbols | None,
        known: Reference | None,
    ) -> FrameSymbols:
        """Return what both sides hold after a frame with these symbols (h * w, M).

        Args:
            frame: Its container.
            symbols: Of all places; only those of places that changed count.
            hw: Of the latent.
            reference, known: What an inter frame was coded against, and that with what changed.
        """
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
