"""Recipes of the paper: of codecs that are switchable or have a hyperprior, too."""

from __future__ import annotations

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimtrain.recipe.schema import CodecRecipe
from studies.paper.config import PaperConfig
from studies.paper.hyperprior_codec import HyperpriorCodec
from studies.paper.switchable import SwitchableCodec


class PaperRecipe(CodecRecipe):
    """A codec, of one of the paper's kinds if it says so."""

    codec: PaperConfig | None = None


def build_codec(config: CodecConfig) -> CodecNet:
    """The codec of a shape."""
    if isinstance(config, PaperConfig) and config.sharing == "switchable":
        return SwitchableCodec(config)
    if isinstance(config, PaperConfig) and config.prior == "hyperprior":
        return HyperpriorCodec(config)
    return CodecNet(config)
