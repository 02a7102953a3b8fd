"""What a process really decodes when it is asked whether it is able to work."""

from __future__ import annotations

import numpy as np

from slimcodec.decode import Decoder, Latent
from slimcodec.model.artifact import CodecArtifact

_CANARY_FILE = "canary.slw"  # in the codec's directory, where the artifact has one


def load_canary(codec: CodecArtifact, decoder: Decoder) -> Latent:
    """The latent of the artifact's canary container, decoded now; without one, an empty latent."""
    canary = codec.directory / _CANARY_FILE
    if canary.exists():
        return decoder.decode_latent(canary.read_bytes())
    side = codec.manifest.pad_multiple
    shape = (1, codec.levels[0].latent_channels, *codec.latent_hw((side, side)))
    return Latent(np.zeros(shape, np.float32), level=0, quality=0, image_hw=(side, side))
