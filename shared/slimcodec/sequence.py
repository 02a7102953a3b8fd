"""Pictures of one camera -> containers that need each other, and back.

    image, seconds -SequenceEncoder-> SentFrame -> a file or a link
         ^ the newest that arrived <- received, lost <──┘
    container -SequenceDecoder-> ReceivedFrame; its symbols are held for those that name them

A frame refers to one that is known to have arrived, so that any may be lost without harm to the
others: to the newest, or where depth is bounded, to the newest that leaves some of it for the next.
A key is coded alone, and may be finer than what changes after it: it is paid once. What changed and
then stood still is refined to the key's point by a container that brings no new picture. A codec
without the context prior codes every picture alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import parse_container, round_quality
from slimcodec.decode import Decoder, Latent
from slimcodec.encode import EncodedImage, Encoder
from slimcodec.errors import MissingReferenceError
from slimcodec.symbols import MAX_DEPTH, FrameSymbols, Kind

HELD_FRAMES = 32  # that a decoder of files holds, and behind which an encoder refers to none
KEY_SECONDS = 60.0

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reference:
    """What a frame leaves behind for those that may refer to it."""

    symbols: FrameSymbols
    changed_seconds: NDArray[np.float64]  # (h, w) when each place last changed
    number: int  # of its frame
    base: int  # number of the newest key or refinement behind it, its own if it is one


@dataclass(frozen=True, eq=False)
class SentFrame:
    """One container, and what its sender has to know of it until it arrived."""

    encoded: EncodedImage
    kind: Kind
    activity: float  # share of the places that it codes
    is_key: bool  # at the key's point
    refines: bool  # brings no new picture
    number: int  # rises from frame to frame
    reference: Reference | None  # what it refers to; None: it decodes alone
    after: Reference | None  # with the context prior


@dataclass(frozen=True, eq=False)
class ReceivedFrame:
    """One container, decoded."""

    latent: Latent
    kind: Kind = "intra"
    activity: float = 1.0  # share of the places that it codes
    symbols: FrameSymbols | None = None  # with the context prior
    reference: bytes | None = None  # the digest of the symbols that it needed


class SequenceEncoder:
    """Decides how each picture of a camera is coded. Its arguments may be set between frames.

    Args:
        encoder: Of any codec.
        level, quality: Where what changes is coded.
        key_interval_seconds: From key to key.
        key_level, key_quality: Where keys are; None: as what changes.
        refine_after_seconds: Places that stood still for so long after a change are brought to the
            key's point, as often at most; None: never.
        max_depth: Frames that a reader has to decode before one, at most; it holds all that
            arrived. 0: each is coded alone. None: as many as there are, the last `HELD_FRAMES`
            of which are held.
    """

    def __init__(
        self,
        encoder: Encoder,
        level: int,
        quality: float,
        key_interval_seconds: float = KEY_SECONDS,
        key_level: int | None = None,
        key_quality: float | None = None,
        refine_after_seconds: float | None = None,
        max_depth: int | None = None,
    ) -> None:
        self._encoder = encoder
        self.level, self.quality = level, quality
        self.key_interval_seconds = key_interval_seconds
        self.key_level, self.key_quality = key_level, key_quality
        self.refine_after_seconds = refine_after_seconds
        self.max_depth = max_depth
        # That arrived and may be named: each is deeper than those before it, and newer.
        self._known: list[Reference] = []
        self._key_seconds: float | None = None  # when the last one was sent
        self._refined_seconds: float | None = None
        self._awaited: SentFrame | None = None  # key or refinement of which nothing is known yet
        self._moving: NDArray[np.bool_] | None = None  # what changed in the picture before
        self._number = 0  # of the newest frame
        self._forgotten = 0  # number of the last frame that may not be named
        self._steps = 0  # frames that refer to the newest key or refinement that arrived

    def encode(self, image: Image, seconds: float, number: int | None = None) -> SentFrame:
        """Return the container of a picture (H, W, 3) that was taken at some seconds.

        Args:
            number: Of the frame, 1 or more and above that of the one before; None: the next.

        Raises:
            ImageError, CodecError: as `Encoder.encode`.
        """
        number = self._number + 1 if number is None else number
        reference = self._reference_of(image)
        if reference is None and self._known:  # nothing can refer to them any more
            self._known, self._key_seconds = [], None
        is_key = self.is_key_due(seconds)
        if is_key:
            encoded, reference = self._encoder.encode(image, *self._key_point()), None
            self._key_seconds = seconds
        else:
            held = None if reference is None else reference.symbols
            encoded = self._encoder.encode(image, self.level, self.quality, held)
        self._moving = None if encoded.symbols is None else encoded.symbols.changed
        return self._keep(encoded, seconds, number, reference, is_key=is_key)

    def refine(self, image: Image, seconds: float) -> SentFrame | None:
        """Return what refines places that stand still, if that is due; after `encode` of a picture.

        It refers to what arrived, as `encode` does, and not to that picture's own container; frames
        refer to it once it arrived.
        """
        reference, after = self._reference_of(image), self.refine_after_seconds
        if reference is None or after is None or self._moving is None or self._awaited is not None:
            return None
        if self._refined_seconds is not None and 0 <= seconds - self._refined_seconds < after:
            return None
        level, quality = self._key_point()
        held = reference.symbols
        coarse = held.coarser_than(level, round_quality(quality))
        places = coarse & ~self._moving & (seconds - reference.changed_seconds >= after)
        if not places.any():
            return None
        encoded = self._encoder.encode(image, level, quality, held, places)
        self._refined_seconds = seconds
        return self._keep(encoded, seconds, self._number + 1, reference, refines=True)

    def received(self, frame: SentFrame) -> None:
        """Take note that a frame arrived."""
        self._answered(frame)
        after, newest = frame.after, self._known[-1] if self._known else None
        if after is None or after.number <= self._forgotten:
            return
        if newest is None or after.base > newest.base:
            self._known, self._steps = [after], 0
        elif after.base == newest.base:
            ordered = sorted([*self._known, after], key=lambda known: known.number)
            self._known = []
            for known in reversed(ordered):
                if not self._known or known.symbols.depth < self._known[0].symbols.depth:
                    self._known.insert(0, known)

    def lost(self, frame: SentFrame) -> None:
        """Take note that a frame did not arrive; a key or a refinement is made again."""
        self._answered(frame)
        if frame.is_key:
            self._key_seconds = None
        if frame.refines:
            self._refined_seconds = None

    def forget(self) -> None:
        """Take note that the other side may hold none of the frames so far; the next is a key."""
        self._forgotten, self._known, self._key_seconds = self._number, [], None

    def _answered(self, frame: SentFrame) -> None:
        if frame is self._awaited:
            self._awaited = None

    def _key_point(self) -> tuple[int, float]:
        level = self.level if self.key_level is None else self.key_level
        return level, self.quality if self.key_quality is None else self.key_quality

    @property
    def will_refer(self) -> bool:
        """Whether the next frame may refer to another, unless a key is due."""
        return bool(self._known) and self.max_depth != 0

    def is_key_due(self, seconds: float) -> bool:
        """Whether a frame that was taken then is coded alone."""
        last = self._key_seconds
        return last is None or not 0 <= seconds - last < self.key_interval_seconds

    def _reference_of(self, image: Image) -> Reference | None:
        """The frame to refer to, if the other side still holds it and it may be named.

        The n-th frame after a key may have as many references behind it as n has bits set. Where
        all answers are quick it refers to frame n & (n - 1) so: half of all to the frame before,
        and the 256th to the key.
        """
        if not self._known or self._known[-1].symbols.image_hw != image.shape[:2]:
            return None
        base, newest = self._known[0], self._known[-1]
        if self.max_depth is None:
            is_held = self._number - newest.number < HELD_FRAMES
            return newest if is_held and newest.symbols.depth < MAX_DEPTH else None
        depth = min(base.symbols.depth + (self._steps + 1).bit_count(), self.max_depth)
        shallow = [known for known in self._known if known.symbols.depth < depth]
        return shallow[-1] if shallow else None

    def _keep(
        self,
        encoded: EncodedImage,
        seconds: float,
        number: int,
        reference: Reference | None,
        *,
        is_key: bool = False,
        refines: bool = False,
    ) -> SentFrame:
        self._number = number
        self._steps += reference is not None
        symbols, after = encoded.symbols, None
        if symbols is not None:
            base = number if is_key or refines else 0 if reference is None else reference.base
            changed_seconds = np.full(symbols.levels.shape, seconds)
            if reference is not None and symbols.depth:
                changed_seconds[~symbols.changed] = reference.changed_seconds[~symbols.changed]
            after = Reference(symbols, changed_seconds, number, base)
        named = reference if symbols is not None and symbols.depth else None
        kind, activity = _how_coded(symbols)
        frame = SentFrame(encoded, kind, activity, is_key, refines, number, named, after)
        if is_key or refines:
            self._awaited = frame
        return frame


class SequenceDecoder:
    """Decodes containers in their order, with the references that they name."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._held: dict[bytes, FrameSymbols] = {}  # by digest, the newest last

    def decode(self, bitstream: bytes) -> ReceivedFrame:
        """Return the frame of a container.

        Raises:
            BitstreamError: as `Decoder.decode_latent`.
            MissingReferenceError: what it needs is not among the last `HELD_FRAMES`.
        """
        newest = next(reversed(self._held.values()), None)
        known = (None, None) if newest is None else (newest.fingerprint, newest.image_hw)
        container = parse_container(bitstream, *known)
        if container.prior != "context":
            return ReceivedFrame(self._decoder.decode_latent(bitstream))
        name = container.reference
        reference = None if name is None else self._held.get(name)
        if name is not None and reference is None:
            raise MissingReferenceError(
                f"container needs the frame with the symbols {name.hex()}, which is not among the "
                "last that were decoded; what comes after the next intra frame can be decoded again"
            )
        symbols = self._decoder.decode_symbols(bitstream, reference=reference)
        self._hold(symbols)
        latent = self._decoder.latent_of(symbols)
        return ReceivedFrame(latent, *_how_coded(symbols), symbols, name)

    def _hold(self, symbols: FrameSymbols) -> None:
        # Frames in which nothing changed have one digest; who names it may mean any of them.
        same = self._held.pop(symbols.digest, symbols)
        self._held[symbols.digest] = min(same, symbols, key=lambda held: held.depth)
        if len(self._held) > HELD_FRAMES:
            del self._held[next(iter(self._held))]


def _how_coded(symbols: FrameSymbols | None) -> tuple[Kind, float]:
    """The kind of a frame, and the share of the places that it codes."""
    if symbols is None or symbols.depth == 0:
        return "intra", 1.0
    activity = float(symbols.changed.mean())
    return "inter" if activity else "unchanged", activity
