"""The codec as it trains: every level and the sampled qualities of a batch in one pass of g_a.

x -g_a-> y -(* gain)-> round -> symbols -(* inverse gain)-> y_hat -prefix of a level-+-> f_hat
              |                                                                      `-> x_hat
              `-> prior -> bits

f_hat is what the feature transform gives, x_hat what g_s gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.causal import scale_gradient
from slimnets.config import CodecConfig
from slimnets.prior import FactorizedPrior
from slimnets.transform import AnalysisTransform, FeatureTransform, SynthesisTransform

_GAIN_RANGE = (0.5, 3.0)  # coarsest, finest at the start: the square root of the range of lambda


@dataclass(frozen=True, slots=True)
class LevelOutput:
    """What one level gives: f_hat at the split point, x_hat before clipping (None where it was not
    asked for).
    """

    level: int
    f_hat: Tensor | None
    x_hat: Tensor | None


@dataclass(frozen=True, slots=True)
class CodecOutput:
    """`bits`: (B, K) bits that each level's group of channels adds, from the likelihoods (an
    estimate).
    """

    bits: Tensor
    levels: tuple[LevelOutput, ...]


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
        machine_levels: Sequence[int],
        view_levels: Sequence[int],
        lower_gradient: float = 1.0,
    ) -> CodecOutput:
        """One training pass.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of 32.
            quality: (B,) int64, one quality for each picture.
            machine_levels, view_levels: levels whose f_hat, x_hat are wanted.
            lower_gradient: share of a wide loss's gradient that reaches narrower groups (see
                `CausalConv2d`).
        """
        widest = self.config.num_levels - 1
        y = self.g_a(x, widest, lower_gradient).float()  # (B, M, H/16, W/16)
        gain, inverse = self.gains(quality)  # (B, M)
        v = y * gain[:, :, None, None]
        noisy = v + torch.empty_like(v).uniform_(-0.5, 0.5)
        bits = self._bits(self.prior.likelihoods(noisy, gain))
        rounded = v + (torch.round(v) - v).detach()  # straight through
        y_hat = rounded * inverse[:, :, None, None]
        levels = []
        for level in sorted({*machine_levels, *view_levels}):
            prefix, one_hot = self.prefix(y_hat, level, lower_gradient)
            levels.append(
                LevelOutput(
                    level,
                    self.feature_transform(prefix, one_hot) if level in machine_levels else None,
                    self._view(y_hat, level, one_hot, lower_gradient)
                    if level in view_levels
                    else None,
                )
            )
        return CodecOutput(bits, tuple(levels))

    def gains(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> gain and inverse gain, (B, M) each.

        Source: the gain units of Cui et al., CVPR 2021.
        """
        return self.log_gain[quality].exp(), self.log_inverse_gain[quality].exp()

    def prefix(
        self, y_hat: Tensor, level: int, lower_gradient: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The full-width latent with zeros beyond `level`, and the one-hot level (B, K)."""
        own = self.config.latent_channels[level - 1] if level else 0
        keep = self.config.latent_channels[level]
        lower = scale_gradient(y_hat[:, :own], lower_gradient)
        pad = y_hat.new_zeros(y_hat.shape[0], y_hat.shape[1] - keep, *y_hat.shape[2:])
        index = torch.full((y_hat.shape[0],), level, device=y_hat.device)
        one_hot = F.one_hot(index, self.config.num_levels).to(y_hat.dtype)
        return torch.cat([lower, y_hat[:, own:keep], pad], 1), one_hot

    def _view(self, y_hat: Tensor, level: int, one_hot: Tensor, lower_gradient: float) -> Tensor:
        """x_hat; the base belongs to the machine, so even the narrowest level's view is held back
        from it.
        """
        if level == 0:
            y_hat = scale_gradient(y_hat, lower_gradient)
        prefix, _ = self.prefix(y_hat, level, lower_gradient)
        x_hat: Tensor = self.g_s(prefix, one_hot)
        return x_hat

    def _bits(self, likelihoods: Tensor) -> Tensor:
        per_channel = -torch.log2(likelihoods).sum((2, 3))  # (B, M)
        prefix = (0, *self.config.latent_channels)
        return torch.stack(
            [per_channel[:, a:b].sum(1) for a, b in zip(prefix, prefix[1:], strict=False)], 1
        )
