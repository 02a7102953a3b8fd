"""A codec with nested levels whose prior is a hyperprior."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from studies.paper.config import PaperConfig
from studies.paper.hyperprior import Hyperprior


class HyperpriorCodec(CodecNet):
    """As `CodecNet`, and its latent's tables are chosen by side information."""

    config: PaperConfig
    prior: Hyperprior  # type: ignore[assignment]  # in place of the factorized one

    def __init__(self, config: CodecConfig) -> None:
        assert isinstance(config, PaperConfig)
        super().__init__(config)
        hyper_groups = [b - a for a, b in pairwise((0, *config.hyper_channels))]
        self.prior = Hyperprior(config.layer_groups(3), hyper_groups)

    def start_prior(self, x: Tensor) -> Tensor:
        """As `CodecNet.start_prior`."""
        widest = self.config.num_levels - 1
        y = self.analyse(x, widest)
        middle = x.new_full((len(x),), (self.config.qualities - 1) / 2)
        self.prior.start_from(y * self.gains(middle, widest)[0][:, :, None, None])
        return y.std((0, 2, 3)).clamp_min(1e-2)
