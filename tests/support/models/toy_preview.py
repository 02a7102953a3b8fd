"""Previews of the toy codec: matrices of no meaning that give pictures of some contrast."""

import numpy as np

from slimcodec.model.artifact import CodecArtifact
from slimcodec.preview import SHRINK, Previewer


def toy_previewer(artifact: CodecArtifact) -> Previewer:
    """One that fits a codec."""
    random = np.random.default_rng(1)
    M, narrow = (artifact.levels[at].latent_channels for at in (-1, 0))
    values = 3 * (artifact.manifest.latent_stride // SHRINK) ** 2
    own, near = (random.normal(0, 0.02, (n, values)) for n in (M, 9 * narrow))
    bias = np.full(values, 0.5)
    return Previewer(*(array.astype(np.float32) for array in (own, near, bias)))
