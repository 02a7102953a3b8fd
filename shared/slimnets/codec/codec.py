"""The codec as it trains: a quality and two levels for every picture, one pass.

x -g_a-> y -(* gain)-> round -> symbols -(* inverse gain)-> y_hat -latent of a level-+-> f_hat
              |                                                                      `-> x_hat
              `-> prior -> bits

f_hat is what the feature transform gives, x_hat what g_s gives. Levels are prefixes of one y.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.config import CodecConfig
from slimnets.codec.prior import FactorizedPrior, straight_through
from slimnets.codec.slimmable import scale_gradient
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.codec.transform import (
    AnalysisTransform,
    FeatureTransform,
    SynthesisTransform,
    start_as_dct,
)

_GAIN_RANGE = (0.5, 3.0)  # coarsest, finest at the start: the square root of the range of lambda


@dataclass(frozen=True, slots=True)
class CodecOutput:
    """What one training pass gives; bits are estimates from likelihoods."""

    rate: Tensor  # (B,) bits of everything that was coded
    level_bits: Tensor  # (B, K) bits of each level's stream, NaN where a level was not run
    # (B, C, H/8, W/8) features, each picture's from its machine level; None: not asked
    f_hat: Tensor | None
    # (B, 3, H, W) pictures, each from its view level, not clipped; None: not asked
    x_hat: Tensor | None


class CodecNet(nn.Module):
    """Slimmable codec with channel gains; `CodecConfig` says of which kind."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a = AnalysisTransform(config)
        self.g_s = SynthesisTransform(config)
        self.feature_transform: FeatureTransform | StemFeatureTransform
        if config.feature_transform == "stem":
            self.feature_transform = StemFeatureTransform(config)
        else:
            self.feature_transform = FeatureTransform(config)
        self.prior = FactorizedPrior(config.latent_channels[-1])
        self.log_gain = nn.Parameter(start_gains(config.qualities, config.latent_channels[-1]))
        self.log_inverse_gain = nn.Parameter(-self.log_gain.detach())

    def forward(
        self,
        x: Tensor,
        quality: Tensor,
        machine_level: Tensor | None,
        view_level: Tensor | None,
        lower_gradient: float = 1.0,
        machine_gradient: float = 1.0,
    ) -> CodecOutput:
        """One training pass; quality and levels differ from picture to picture.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of `config.pad_multiple`.
            quality: (B,) float, 0 (coarsest) to qualities - 1.
            machine_level, view_level: (B,) int64; None: no features, or no picture.
            lower_gradient: share of a wide loss's gradient that reaches narrower groups, as in
                `CausalConv2d`.
            machine_gradient: share of the gradient of f_hat that reaches the latent.
        """
        f_hat = x_hat = None
        y = self.analyse(x, self.config.num_levels - 1, lower_gradient)
        gain, inverse = self.gains(quality, self.config.num_levels - 1)
        v = y * gain[:, :, None, None]
        y_hat = straight_through(v, v.round()) * inverse[:, :, None, None]
        level_bits = self.prior.bits(v, gain, self.config.latent_channels).cumsum(1)
        # the base belongs to the machine, so even the narrowest level's view is held back
        base = self.config.latent_channels[0] if machine_level is not None else 0
        held = torch.cat([scale_gradient(y_hat[:, :base], lower_gradient), y_hat[:, base:]], 1)
        if machine_level is not None:
            read, one_hot = self.prefix(y_hat, machine_level, lower_gradient)
            f_hat = self.feature_transform(scale_gradient(read, machine_gradient), one_hot)
        if view_level is not None:
            x_hat = self.g_s(*self.prefix(held, view_level, lower_gradient))
        return CodecOutput(level_bits[:, -1], level_bits, f_hat, x_hat)

    def analyse(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """x (B, 3, H, W) -> y (B, M_level, H/16, W/16) float32."""
        y: Tensor = self.g_a(x, level, lower_gradient).float()
        return y

    def gains(self, quality: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(B,) float -> gain and inverse gain of a level's channels, (B, M_level) each.

        Source: the gain units of Cui et al., CVPR 2021; between two trained qualities the gains are
        interpolated geometrically, as there.
        """
        rows = slice(self.config.latent_channels[level])
        below = quality.long().clamp(0, self.config.qualities - 1)
        above = (below + 1).clamp(max=self.config.qualities - 1)
        t = (quality - below)[:, None]
        gain, inverse = (
            torch.lerp(log[below, rows], log[above, rows], t).exp()
            for log in (self.log_gain, self.log_inverse_gain)
        )
        return gain, inverse

    def prefix(
        self, y_hat: Tensor, level: Tensor, lower_gradient: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """What the decoders take: the latent with zeros beyond each picture's level (B,), and the
        level one-hot (B, K).

        Groups below a picture's level get `lower_gradient` of the gradient.
        """
        sizes = torch.tensor(self.config.layer_groups(3))
        group = torch.repeat_interleave(sizes).to(
            level.device
        )  # (M,) the level that each channel belongs to
        kept = (group <= level[:, None]).to(y_hat.dtype)[:, :, None, None]
        if lower_gradient != 1.0:
            share = torch.where(group < level[:, None], lower_gradient, 1.0).to(y_hat.dtype)
            y_hat = y_hat.detach() + share[:, :, None, None] * (y_hat - y_hat.detach())
        return y_hat * kept, F.one_hot(level, self.config.num_levels).to(y_hat.dtype)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Set a new codec's scales by the pictures x (B, 3, H, W).

        With a block transform the codec begins as a DCT coder: the convolutions' last layers start
        at zero.
        """
        self.g_a.start_from(x)
        if self.g_a.block is not None and self.g_s.block is not None:
            start_as_dct(self.g_a.block, self.g_s.block, x)
            last = self.g_s.body[-1]
            assert isinstance(last, nn.ConvTranspose2d)
            for parameter in last.parameters():
                parameter.zero_()
            if isinstance(self.feature_transform, StemFeatureTransform):
                self.feature_transform.take_block(self.g_s.block)
        deviation = self.start_prior(x)
        for decoder in (self.g_s, self.feature_transform):
            decoder.first.conv.weight.div_(deviation.clamp_min(1.0)[:, None, None])

    def start_prior(self, x: Tensor) -> Tensor:
        """Set the prior's scales by the pictures x (B, 3, H, W); the latent's deviations (M,)."""
        widest = self.config.num_levels - 1
        y = self.analyse(x, widest)
        deviation = y.std((0, 2, 3)).clamp_min(1e-2)
        self.prior.start_from(deviation)
        return deviation

    def bits(self, x: Tensor, quality: Tensor) -> Tensor:
        """What x (B, 3, H, W) takes at quality (B,): (B, number of groups), for a prior that is
        fitted alone: no gradient reaches g_a or the gains.
        """
        widest = self.config.num_levels - 1
        with torch.no_grad():
            y, (gain, _) = self.analyse(x, widest), self.gains(quality, widest)
        v = y * gain[:, :, None, None]
        return self.prior.bits(v, gain, self.config.latent_channels)


def start_gains(qualities: int, channels: int) -> Tensor:
    """Logarithms of the gains at the start, (qualities, channels), from coarse to fine."""
    low, high = _GAIN_RANGE
    start = torch.linspace(0, 1, qualities)[:, None].expand(-1, channels)
    return torch.log(torch.tensor(low)) + start * torch.log(torch.tensor(high / low))
