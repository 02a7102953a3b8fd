"""A frame with what it needs -> its symbols -> its latent.

    intra frame ─► symbols ─► inter frame ─► symbols ─► ... ─► the frame's own ─► latent

The symbols of the frames that were decoded last are kept: the next are coded against them. A frame
is needed as its base alone is, whether or not it has an enhancement. Who decodes with the wrong
symbols is told so by the container's digest.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from slimcloud.frame_id import FrameId
from slimcodec.container import MAX_LEVELS
from slimcodec.decode import Decoder, Latent
from slimcodec.model.artifact import CodecArtifact
from slimcodec.symbols import FrameSymbols

_KEPT_BYTES = 64 * 2**20  # about 140 frames of 640 x 480 with 192 channels

Chain = tuple[tuple[FrameId, bytes], ...]  # frames with their bases, each needs the one before it


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """A frame's containers, and the symbols that it needs or what these are decoded from."""

    base: bytes
    enhancement: bytes | None = None
    frame_id: FrameId | None = None  # None: nothing can need it
    needed: FrameSymbols | Chain = ()


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame's latent, and where the codec has references its symbols."""

    latent: Latent
    symbols: FrameSymbols | None = None

    @property
    def activity(self) -> float | None:
        """The share of the places that it codes; None of one that was coded alone."""
        if self.symbols is None or self.symbols.depth == 0:
            return None
        return float(self.symbols.changed.mean())

    @property
    def coded_level(self) -> int:
        """The level of what it brought; above all where nothing changed, and so nothing moved."""
        if self.symbols is None or self.symbols.depth == 0:
            return self.latent.level
        changed = self.symbols.levels[self.symbols.changed]
        return int(changed.max()) if changed.size else MAX_LEVELS


class ChainDecoder:
    """Decodes frames of one codec; safe from many threads.

    Args:
        on_reference: is told of each frame that needs another whether that one's symbols were kept.
    """

    def __init__(
        self,
        decoder: Decoder,
        codec: CodecArtifact,
        on_reference: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._decoder = decoder
        self._has_references = codec.context is not None
        self._on_reference = on_reference
        self._lock = threading.Lock()
        self._kept: LRUCache[FrameId, FrameSymbols] = LRUCache(_KEPT_BYTES, _size_bytes)

    def kept(self, frame_id: FrameId) -> FrameSymbols | None:
        """The symbols of a frame, if they are kept still."""
        with self._lock:
            return self._kept.get(frame_id)

    def decode(self, frame: CodedFrame) -> DecodedFrame:
        """The latent of a frame.

        Raises:
            slimcodec.errors.BitstreamError: it, or what it needs, cannot be decoded or is missing.
        """
        if not self._has_references:
            return DecodedFrame(self._decoder.decode_latent(frame.base, frame.enhancement))
        reference = self._symbols_of(frame.needed)
        symbols = self._decoder.decode_symbols(frame.base, frame.enhancement, reference)
        if frame.frame_id is not None and frame.enhancement is None:
            self._keep(frame.frame_id, symbols)
        return DecodedFrame(self._decoder.latent_of(symbols), symbols)

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]:
        """The picture of a latent, (H, W, 3) RGB."""
        return self._decoder.decode_image(latent)

    def _symbols_of(self, needed: FrameSymbols | Chain) -> FrameSymbols | None:
        """Of a chain those of its last frame; what comes after one that is kept is decoded."""
        if isinstance(needed, FrameSymbols):
            self._on_reference(True)
            return needed
        symbols, rest = None, list(needed)
        while rest and symbols is None:
            symbols = self.kept(rest[-1][0])
            rest.pop()
        known = 0 if symbols is None else len(rest) + 1
        if needed:
            self._on_reference(known == len(needed))
        for frame_id, base in needed[known:]:
            symbols = self._decoder.decode_symbols(base, reference=symbols)
            self._keep(frame_id, symbols)
        return symbols

    def _keep(self, frame_id: FrameId, symbols: FrameSymbols) -> None:
        with self._lock, suppress(ValueError):  # larger than all that is kept
            self._kept[frame_id] = symbols


def _size_bytes(symbols: FrameSymbols) -> int:
    return sum(
        array.nbytes
        for array in (symbols.symbols, symbols.levels, symbols.qualities, symbols.changed)
    )
