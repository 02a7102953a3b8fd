"""The codec as it trains: every level and the sampled qualities of a batch in one pass of g_a.

x -g_a-> y -(* gain)-> round -> symbols -(* inverse gain)-> y_hat -prefix of a level-+-> f_hat
              |                                                                      `-> x_hat
              `-> prior -> bits

f_hat is what the feature transform gives, x_hat what g_s gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.causal import CausalConv2d, scale_gradient
from slimnets.config import CodecConfig
from slimnets.prior import FactorizedPrior
from slimnets.transform import AnalysisTransform, FeatureTransform, SynthesisTransform

_GAIN_RANGE = (0.5, 3.0)  # coarsest, finest at the start: the square root of the range of lambda

_LATENT_SPREAD = 2.0  # standard deviation of every latent at the start


@dataclass(frozen=True, slots=True)
class CodecOutput:
    """What one training pass gives.

    Args:
        bits: (B, K) bits that each level's channels add, from the likelihoods (an estimate).
        f_hat: (B, C, H/8, W/8) features, each picture's from its machine level.
        x_hat: (B, 3, H, W) pictures, each from its view level, not clipped.
    """

    bits: Tensor
    f_hat: Tensor
    x_hat: Tensor


class Codec(nn.Module):
    """Nested slimmable codec with channel gains and a factorized prior."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        M = config.latent_channels[-1]
        self.g_a = AnalysisTransform(config)
        self.g_s = SynthesisTransform(config)
        self.feature_transform = FeatureTransform(config)
        self.prior = FactorizedPrior(M)
        low, high = _GAIN_RANGE
        start = torch.linspace(0, 1, config.qualities)[:, None].expand(-1, M)
        log_gain = torch.log(torch.tensor(low)) + start * torch.log(torch.tensor(high / low))
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse_gain = nn.Parameter(-log_gain.clone())

    def forward(
        self,
        x: Tensor,
        quality: Tensor,
        machine_level: Tensor,
        view_level: Tensor,
        lower_gradient: float = 1.0,
    ) -> CodecOutput:
        """One training pass; quality and levels differ from picture to picture.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of 32.
            quality, machine_level, view_level: (B,) int64.
            lower_gradient: share of a wide loss's gradient that reaches narrower groups, as in
                `CausalConv2d`.
        """
        y = self.g_a(x, self.config.num_levels - 1, lower_gradient).float()  # (B, M, H/16, W/16)
        gain, inverse = self.gains(quality)  # (B, M)
        v = y * gain[:, :, None, None]
        noisy = v + torch.empty_like(v).uniform_(-0.5, 0.5)
        bits = self._bits(self.prior.likelihoods(noisy, gain))
        rounded = v + (torch.round(v) - v).detach()  # straight through
        y_hat = rounded * inverse[:, :, None, None]
        f_hat = self.feature_transform(*self.prefix(y_hat, machine_level, lower_gradient))
        # the base belongs to the machine, so even the narrowest level's view is held back from it
        base = self.config.latent_channels[0]
        held = torch.cat([scale_gradient(y_hat[:, :base], lower_gradient), y_hat[:, base:]], 1)
        x_hat = self.g_s(*self.prefix(held, view_level, lower_gradient))
        return CodecOutput(bits, f_hat, x_hat)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Centre and scale every convolution of g_a by the pictures x: latents that start far below
        one are nearly all rounded to zero; in a run that began so the wide groups stayed dead.

        Source: Mishkin and Matas, "All you need is a good init" (ICLR 2016).
        """
        widest = self.config.num_levels - 1
        for i, conv in enumerate(self.g_a.convs):
            assert isinstance(conv, CausalConv2d)
            out = conv(x, widest)
            mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)).clamp_min(1e-6)
            wanted = _LATENT_SPREAD if i == len(self.g_a.gdns) else 1.0
            for group, (a, b) in zip(conv.groups, pairwise((0, *conv.out_prefix)), strict=True):
                assert isinstance(group, nn.Conv2d)
                assert group.bias is not None
                scale = wanted / deviation[a:b]
                group.weight.mul_(scale[:, None, None, None])
                group.bias.copy_((group.bias - mean[a:b]) * scale)
            if i < len(self.g_a.gdns):
                x = self.g_a.gdns[i](conv(x, widest), widest)

    def gains(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> gain and inverse gain, (B, M) each.

        Source: the gain units of Cui et al., CVPR 2021.
        """
        return self.log_gain[quality].exp(), self.log_inverse_gain[quality].exp()

    def prefix(
        self, y_hat: Tensor, level: Tensor, lower_gradient: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """What the decoders take: the latent with zeros beyond each picture's level (B,), and the
        level one-hot (B, K).

        Groups below a picture's level get `lower_gradient` of the gradient.
        """
        sizes = torch.tensor([b - a for a, b in pairwise((0, *self.config.latent_channels))])
        group = torch.repeat_interleave(sizes).to(
            level.device
        )  # (M,) the level that each channel belongs to
        kept = (group <= level[:, None]).to(y_hat.dtype)[:, :, None, None]
        if lower_gradient != 1.0:
            share = torch.where(group < level[:, None], lower_gradient, 1.0).to(y_hat.dtype)
            y_hat = y_hat.detach() + share[:, :, None, None] * (y_hat - y_hat.detach())
        return y_hat * kept, F.one_hot(level, self.config.num_levels).to(y_hat.dtype)

    def _bits(self, likelihoods: Tensor) -> Tensor:
        per_channel = -torch.log2(likelihoods).sum((2, 3))  # (B, M)
        groups = pairwise((0, *self.config.latent_channels))
        return torch.stack([per_channel[:, a:b].sum(1) for a, b in groups], 1)
