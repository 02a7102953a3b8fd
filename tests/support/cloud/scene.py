"""A still scene in which a box moves, coded as a camera with references does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import EncodedImage
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.symbols import FrameSymbols
from support.cloud.whole_cloud import ToyModels
from support.models.earlier_edge import enhance_inter
from support.models.toy_artifact import make_image

HW = (64, 96)
_LEVEL, _QUALITY = 0, 2


def picture(place: int) -> NDArray[np.uint8]:
    """The scene with the box at one of a few places."""
    image = make_image(*HW, seed=5)
    left = 16 * (place % 5)
    image[32:48, left : left + 16] = 250
    return image


class Scene:
    """Containers of the scene, and the symbols that each stands for, by sequence."""

    def __init__(self, models: ToyModels) -> None:
        self._encoder, self.artifact = models.encoder, models.artifact
        self.decoder = Decoder(models.artifact, OpenVinoRuntime(num_threads=1, precision="f32"))
        self.frames: dict[int, EncodedImage] = {}
        self._places: dict[int, int] = {}

    def encode(self, sequence: int, reference: int = 0, place: int | None = None) -> bytes:
        """The container of a frame, coded against an earlier one or alone."""
        self._places[sequence] = sequence if place is None else place
        needed = self.symbols(reference) if reference else None
        image = picture(self._places[sequence])
        self.frames[sequence] = self._encoder.encode(image, _LEVEL, _QUALITY, needed)
        return self.frames[sequence].bitstream

    def enhance(self, sequence: int) -> bytes:
        """The enhancement of a frame that was coded alone."""
        image = picture(self._places[sequence])
        return self._encoder.enhance(image, self.frames[sequence].bitstream).bitstream

    def enhance_changes(self, sequence: int, reference: int) -> bytes:
        """That of an inter frame, as edges of before sent it."""
        image, base = picture(self._places[sequence]), self.frames[sequence].bitstream
        return enhance_inter(self.artifact, image, base, self.symbols(reference))[0]

    def refine(self, sequence: int, level: int | None = None, quality: float = 0.0) -> bytes:
        """What brings all of a frame to a level and quality."""
        image = picture(self._places[sequence])
        return self._encoder.refine(image, self.symbols(sequence), level, quality).bitstream

    def symbols(self, sequence: int) -> FrameSymbols:
        """What its reader must have then."""
        symbols = self.frames[sequence].symbols
        assert symbols is not None, "the toy codec of scenes has the context prior"
        return symbols
