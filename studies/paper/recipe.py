"""Recipes of the paper: of switchable codecs, too."""

from __future__ import annotations

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimtrain.recipe.schema import CodecRecipe
from studies.paper.switchable import SwitchableCodec, SwitchableConfig


class PaperRecipe(CodecRecipe):
    """A codec; what says `sharing: switchable` is one of the paper's kind."""

    codec: CodecConfig | SwitchableConfig | None = None


def build_codec(config: CodecConfig) -> CodecNet:
    """The codec of a shape."""
    return SwitchableCodec(config) if isinstance(config, SwitchableConfig) else CodecNet(config)
