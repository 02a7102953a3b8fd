"""Frames of fixed cameras as an edge would code them: what the inter prior is fitted to.

    latents of a camera -draw level, quality, gap-> key -hysteresis-> inter frames, each against the
                                                        last, then a refinement of still places

What an encoder does later with a real link is not known here; so levels, qualities and gaps are
drawn, fine keys with coarse changes among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS
from slimcodec.context.coder import CHANGE_GAIN, KEEP_THRESHOLD, gain_of_change
from slimcodec.entropy.gain import gain_at

FINE_QUALITY = 4.0  # of fine keys and refinements
FRAMES = 6  # after a key
GAPS = (1, 5)  # latents from frame to frame
_REFINED = 0.7  # of the places that may be refined

Symbols = NDArray[np.int16]  # (M, h, w)


@dataclass(frozen=True, eq=False)
class HeldFrame:
    """What both sides hold: each place has its own level and quality."""

    symbols: Symbols  # zero beyond a place's level
    channels: NDArray[np.intp]  # (h, w) that a place has
    quality: NDArray[np.float64]  # (h, w)
    changed: NDArray[np.bool_]  # (h, w) in this frame; nowhere in a key


@dataclass(frozen=True, eq=False)
class InterFrame:
    """A frame of a level's channels, coded against a reference."""

    quality: float
    symbols: Symbols
    reference: Symbols  # at this frame's quality
    there: NDArray[np.intp]  # (h, w) channels that the reference has
    fineness: NDArray[np.float64]  # (h, w) this frame's quality over the reference's
    changed: NDArray[np.bool_]  # (h, w)
    before: NDArray[np.bool_]  # (h, w) what changed in the reference


@dataclass(frozen=True, eq=False)
class Camera:
    """Simulates what an edge sends of one camera.

    Args:
        latents: (T, M, h, w), at even distances in time.
        gain: (Q, M), the codec's.
        widths: of its levels, channels.
    """

    latents: NDArray[np.float32]
    gain: NDArray[np.float32]
    widths: Sequence[int]

    def sequence(self, draw: np.random.Generator) -> Iterator[InterFrame]:
        """The inter frames of one drawn sequence."""
        gap = int(draw.choice(GAPS)) if len(self.latents) > FRAMES * GAPS[-1] else 1
        count = min(FRAMES, (len(self.latents) - 1) // gap)
        start = int(draw.integers(len(self.latents) - count * gap))
        kind = draw.choice(("even", "fine key", "jumps"), p=(0.45, 0.4, 0.15))
        point = self._draw_point(draw)
        held = self._key(start, *(self._fine if kind == "fine key" else point))
        since = np.zeros(held.changed.shape, np.intp)  # frames without a change
        for number in range(1, count + 1):
            if kind == "jumps":
                point = self._draw_point(draw)
            frame, held = self._code(held, start + number * gap, *point)
            since = np.where(frame.changed, 0, since + 1)
            yield frame
        width, quality = self._fine
        coarse = (held.channels < width) | (held.quality < quality)
        refined = coarse & (since >= 2) & (draw.random(since.shape) < _REFINED)
        if refined.any():
            yield self._code(held, start + count * gap, width, quality, refined)[0]

    @property
    def _fine(self) -> tuple[int, float]:
        return self.widths[-1], min(FINE_QUALITY, len(self.gain) - 1.0)

    def _draw_point(self, draw: np.random.Generator) -> tuple[int, float]:
        """Channels, and a quality, whole every other time."""
        shares = 0.5 ** np.arange(len(self.widths))
        steps = 1 if draw.random() < 0.5 else QUALITY_STEPS
        quality = round(draw.uniform(0, len(self.gain) - 1) * steps) / steps
        return int(draw.choice(self.widths, p=shares / shares.sum())), quality

    def _key(self, time: int, width: int, quality: float) -> HeldFrame:
        symbols = np.rint(self._gained(time, quality)).astype(np.int16)
        symbols[width:] = 0
        hw = symbols.shape[1:]
        return HeldFrame(symbols, np.full(hw, width), np.full(hw, quality), np.zeros(hw, np.bool_))

    def _code(
        self,
        held: HeldFrame,
        time: int,
        width: int,
        quality: float,
        refined: NDArray[np.bool_] | None = None,
    ) -> tuple[InterFrame, HeldFrame]:
        """Code a frame against what is held: what changed, or the places that are refined."""
        v, every = self._gained(time, quality)[:width], self._at_quality(held, quality)
        reference, there = np.rint(every[:width]), np.arange(width)[:, None, None] < held.channels
        keeps = there & (np.abs(v - reference) <= KEEP_THRESHOLD)
        symbols = np.where(keeps, reference, np.rint(v)).astype(np.int32)
        changed = gain_of_change(v, symbols, every) > CHANGE_GAIN
        if refined is not None:
            changed |= refined
        symbols = np.where(changed, symbols, reference)
        frame = InterFrame(
            quality,
            symbols.astype(np.int16),
            reference.astype(np.int16),
            np.minimum(held.channels, width),
            quality - held.quality,
            changed,
            held.changed,
        )
        coded = np.zeros_like(held.symbols)
        coded[:width] = symbols
        return frame, HeldFrame(
            np.where(changed, coded, held.symbols),
            np.where(changed, width, held.channels),
            np.where(changed, quality, held.quality),
            changed,
        )

    def _gained(self, time: int, quality: float) -> NDArray[np.float32]:
        gained: NDArray[np.float32] = (
            self.latents[time] * gain_at(self.gain, quality)[:, None, None]
        )
        return gained

    def _at_quality(self, held: HeldFrame, quality: float) -> NDArray[np.float64]:
        """The symbols that are held, as they would be at another quality."""
        wanted, found = gain_at(self.gain, quality), held.symbols.astype(np.float64)
        for of_place in np.unique(held.quality[held.quality != quality]).tolist():
            ratio = wanted / gain_at(self.gain, of_place)
            found[:, held.quality == of_place] *= ratio[:, None]
        return found


def crop(frame: InterFrame, side: int, draw: np.random.Generator) -> InterFrame:
    """A square around one of the changed places, its corner on an even row and column; beyond the
    grid lie places that did not change and hold zeros.
    """
    h, w = frame.changed.shape
    places = np.argwhere(frame.changed)
    corner = places[draw.integers(len(places))] - draw.integers(side - 1, size=2)
    last = [max(0, n - side + 1) for n in (h, w)]
    row, column = (np.clip(corner, 0, last) // 2 * 2).tolist()
    pad = max(0, row + side - h), max(0, column + side - w)

    def cut(array: NDArray[np.generic]) -> NDArray[np.generic]:
        piece = array[..., row : row + side, column : column + side]
        widths = [(0, 0)] * (array.ndim - 2) + [(0, pad[0]), (0, pad[1])]
        return np.pad(piece, widths)

    names = ("symbols", "reference", "there", "fineness", "changed", "before")
    cuts: dict[str, Any] = {name: cut(getattr(frame, name)) for name in names}
    return replace(frame, **cuts)
