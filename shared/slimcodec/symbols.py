"""What both sides hold of a frame: its symbols, and at which level and quality each place is.

A place is one column of the latent, 16 x 16 pixels. Places of one frame may differ: an inter frame
codes only those that changed, at its own level and quality, and the others stay what they were.

The digest is the begin of the SHA-256 over: fingerprint; height and width of the picture (u16); the
levels (u8), the qualities (u16, 8.8) and the changes (u8) of all places, row by row; the symbols
(i16) of all places, row by row, each place's channels together, as many as the highest level has.
Integers are little-endian.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS, REFERENCE_BYTES, Section, to_fixed
from slimcodec.errors import DamagedContainerError

Kind = Literal["intra", "inter", "unchanged"]  # how a frame was coded: the last, nothing changed

MAX_SYMBOL = 32767  # larger latents are clipped: they are not of this world, but must not wrap
MAX_DEPTH = 1023  # frames that one must have decoded before another

# A section is refused below this share of the bits that its symbols cost at least. Pictures of one
# colour have 1.002 of them or more with the shipped models. Only symbols of a table's first bin are
# cheaper, in a section's last channels: ANS codes them for nothing while its state is still zero.
LEAST_SHARE = 0.5
_FREE_BYTES = 4  # that the first state holds


def round_symbols(latent: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Return the int32 symbols of a latent of any shape."""
    rounded = np.clip(np.rint(latent), -MAX_SYMBOL, MAX_SYMBOL)
    rounded[np.isnan(rounded)] = 0
    symbols: NDArray[np.int32] = rounded.astype(np.int32)
    return symbols


def check_holds(section: Section, least_bits: float) -> None:
    """Refuse fewer bytes than the symbols can be, so that nobody has much decoded for little.

    Raises:
        DamagedContainerError: the section has less than half of the bits that it must have.
    """
    if 8 * (len(section.data) + _FREE_BYTES) < LEAST_SHARE * least_bits:
        raise DamagedContainerError(
            f"group {section.group} has {len(section.data)} bytes; its symbols take "
            f"{math.ceil(least_bits / 8)} at least"
        )


@dataclass(frozen=True, eq=False)
class FrameSymbols:
    """A decoded frame before it becomes a latent; what a later frame may refer to."""

    fingerprint: bytes  # 8 bytes, of the model
    image_hw: tuple[int, int]  # original, pixels
    symbols: NDArray[
        np.int16
    ]  # (h, w, M_l of the highest level there), zero beyond a place's level
    levels: NDArray[np.uint8]  # (h, w)
    qualities: NDArray[np.uint16]  # (h, w), 8.8 fixed point
    changed: NDArray[np.bool_]  # (h, w), places that its own container coded; none of an intra one
    depth: int = 0  # references back to an intra frame

    @property
    def level(self) -> int:
        """The highest level of any place."""
        return int(self.levels.max())

    @property
    def quality(self) -> float:
        """The finest quality of any place."""
        return int(self.qualities.max()) / QUALITY_STEPS

    def coarser_than(self, level: int, quality: float) -> NDArray[np.bool_]:
        """(h, w) the places that are below a level or a quality."""
        return (self.levels < level) | (self.qualities < to_fixed(quality))

    @cached_property
    def digest(self) -> bytes:
        """5 bytes that stand for all of it but the depth."""
        digest = hashlib.sha256(self.fingerprint + struct.pack("<HH", *self.image_hw))
        for array, dtype in (
            (self.levels, "u1"),
            (self.qualities, "<u2"),
            (self.changed, "u1"),
            (self.symbols, "<i2"),
        ):
            digest.update(array.astype(dtype, order="C", copy=False).tobytes())
        return digest.digest()[:REFERENCE_BYTES]
