"""The product's choice of references, over containers that are as long as recorded ones.

SequenceEncoder ─► RecordedEncoder: (frame, point, reference's frame) ─► bytes of that recording
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.encode import EncodedImage, Encoder
from slimcodec.sequence import SentFrame, SequenceEncoder
from slimcodec.symbols import FrameSymbols
from slimcontrol.controller import NextKind
from slimcontrol.point import OperatingPoint
from studies.controller.simulation.world import World

MAX_DEPTH = 8  # that the cloud allows as it comes


@dataclass(frozen=True, eq=False)
class _RecordedSymbols(FrameSymbols):
    """Nothing but where in the camera's pictures the frame was."""

    frame: int = 0


class RecordedEncoder(Encoder):
    """Encodes pictures of which only the number is known; `frame` says which one is next."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.frame = 0

    def encode(
        self,
        image: NDArray[np.uint8],
        level: int,
        quality: float,
        reference: FrameSymbols | None = None,
        places: NDArray[np.bool_] | None = None,
    ) -> EncodedImage:
        """A container of zeros, as long as the real one was; see `Encoder.encode`."""
        gap, depth = 0, 0
        if reference is not None:
            assert isinstance(reference, _RecordedSymbols), "of this encoder"
            gap, depth = self.frame - reference.frame, reference.depth + 1
        size_bytes = self._world.size_bytes(self.frame, level, quality, gap)
        image_hw = (image.shape[0], image.shape[1])
        symbols = _RecordedSymbols(
            fingerprint=b"",
            image_hw=image_hw,
            symbols=np.zeros((1, 1, 1), np.int16),
            levels=np.zeros((1, 1), np.uint8),
            qualities=np.zeros((1, 1), np.uint16),
            changed=np.ones((1, 1), np.bool_),
            depth=depth,
            frame=self.frame,
        )
        return EncodedImage(bytes(size_bytes), level, quality, image_hw, 0.0, symbols)


class References:
    """How each frame of a camera is coded, by what is known of those before; as the edge does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._encoder = RecordedEncoder(world)
        self._sequence = SequenceEncoder(
            self._encoder, 0, 0, max_depth=MAX_DEPTH if world.content.gaps else 0
        )
        self._picture = np.broadcast_to(np.uint8(0), (*world.image_hw, 3))

    def kind(self, frame: int) -> NextKind:
        """How a frame will be coded."""
        if not self._world.content.gaps:
            return NextKind.ALONE
        if self._sequence.is_key_due(self._world.captured_at(frame)):
            return NextKind.KEY
        return NextKind.INTER if self._sequence.will_refer else NextKind.ALONE

    def encode(self, frame: int, point: OperatingPoint) -> SentFrame:
        """Code the next frame."""
        self._encoder.frame = frame
        self._sequence.level, self._sequence.quality = point.level, point.quality
        return self._sequence.encode(self._picture, self._world.captured_at(frame))

    def answered(self, sent: SentFrame, *, is_stored: bool) -> None:
        """Take note of what became of a frame."""
        (self._sequence.received if is_stored else self._sequence.lost)(sent)
