"""Frames of fixed cameras as an edge would code them: what the inter prior is fitted to.

    latents of a camera -draw level, quality, gap-> key -Changes-> inter frames, each against the
                                                        last, then a refinement of still places

What an encoder does later with a real link is not known here; so levels, qualities and gaps are
drawn, fine keys with coarse changes among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import FINGERPRINT_BYTES, QUALITY_STEPS, Container
from slimcodec.context.changes import Changes
from slimcodec.context.walk import Reference
from slimcodec.entropy.gain import gain_at
from slimcodec.symbols import FrameSymbols, round_symbols

FINE_QUALITY = 4.0  # of fine keys and refinements
FRAMES = 6  # after a key
GAPS = (1, 5)  # latents from frame to frame
_REFINED = 0.7  # of the places that may be refined

Symbols = NDArray[np.int16]  # (M, h, w)


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


class Camera:
    """Simulates what an edge sends of one camera.

    Args:
        latents: (T, M, h, w), at even distances in time.
        gain: (Q, M), the codec's.
        widths: of its levels, channels.
    """

    def __init__(
        self, latents: NDArray[np.float32], gain: NDArray[np.float32], widths: Sequence[int]
    ) -> None:
        self._latents, self._gain, self._widths = latents, gain, widths
        self._hw = (latents.shape[2], latents.shape[3])
        self._changes = Changes(gain, widths)
        self._fine = len(widths) - 1, min(FINE_QUALITY, len(gain) - 1.0)  # level, quality

    def sequence(self, draw: np.random.Generator) -> Iterator[InterFrame]:
        """The inter frames of one drawn sequence."""
        gap = int(draw.choice(GAPS)) if len(self._latents) > FRAMES * GAPS[-1] else 1
        count = min(FRAMES, (len(self._latents) - 1) // gap)
        start = int(draw.integers(len(self._latents) - count * gap))
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
        refined = held.coarser_than(*self._fine) & (since >= 2)
        refined &= draw.random(since.shape) < _REFINED
        if refined.any():
            yield self._code(held, start + count * gap, *self._fine, refined)[0]

    def _draw_point(self, draw: np.random.Generator) -> tuple[int, float]:
        """A level, and a quality, whole every other time."""
        shares = 0.5 ** np.arange(len(self._widths))
        steps = 1 if draw.random() < 0.5 else QUALITY_STEPS
        quality = round(draw.uniform(0, len(self._gain) - 1) * steps) / steps
        return int(draw.choice(len(shares), p=shares / shares.sum())), quality

    def _key(self, time: int, level: int, quality: float) -> FrameSymbols:
        symbols = round_symbols(self._gained(time, level, quality))
        return self._after(symbols, level, quality)

    def _code(
        self,
        held: FrameSymbols,
        time: int,
        level: int,
        quality: float,
        refined: NDArray[np.bool_] | None = None,
    ) -> tuple[InterFrame, FrameSymbols]:
        """Code a frame against what is held: what changed, or the places that are refined."""
        symbols, known = self._changes.find(self._gained(time, level, quality), quality, held)
        if refined is not None:
            known = replace(known, changed=refined.ravel())
        symbols = np.where(known.changed[:, np.newaxis], symbols, known.symbols)
        hw, width = self._hw, self._widths[level]
        frame = InterFrame(
            quality,
            symbols=symbols.T.reshape(width, *hw).astype(np.int16),
            reference=known.symbols.T.reshape(width, *hw).astype(np.int16),
            there=np.minimum(known.there, width).reshape(hw),
            fineness=known.fineness.reshape(hw) / QUALITY_STEPS,
            changed=known.changed.reshape(hw),
            before=held.changed,
        )
        return frame, self._after(symbols, level, quality, held, known)

    def _gained(self, time: int, level: int, quality: float) -> NDArray[np.float32]:
        """(h * w, M_l)."""
        width = self._widths[level]
        y = self._latents[time, :width].reshape(width, -1).T
        gained: NDArray[np.float32] = y * gain_at(self._gain, quality)[:width]
        return gained

    def _after(
        self,
        symbols: NDArray[np.int32],
        level: int,
        quality: float,
        reference: FrameSymbols | None = None,
        known: Reference | None = None,
    ) -> FrameSymbols:
        frame = Container(bytes(FINGERPRINT_BYTES), level, quality, self._hw, 0, ())
        return self._changes.after(frame, symbols, self._hw, reference, known)


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
