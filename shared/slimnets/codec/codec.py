"""The codec as it trains: a quality and two levels for every picture, one pass.

x -g_a-> y -(* gain)-> round -> symbols -(* inverse gain)-> y_hat -latent of a level-+-> f_hat
              |                                                                      `-> x_hat
              `-> prior -> bits

f_hat is what the feature transform gives, x_hat what g_s gives. Nested levels are prefixes of one
y; switchable levels each run g_a and are coded by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.block import start_as_dct
from slimnets.codec.config import CodecConfig
from slimnets.codec.hyperprior import Hyperprior, bits_by_group, straight_through
from slimnets.codec.prior import FactorizedPrior
from slimnets.codec.slimmable import CausalConv2d, SlimmableConv2d, scale_gradient
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.codec.transform import AnalysisTransform, FeatureTransform, SynthesisTransform

_GAIN_RANGE = (0.5, 3.0)  # coarsest, finest at the start: the square root of the range of lambda

_LATENT_SPREAD = 2.0  # standard deviation of every latent at the start, without a block transform


@dataclass(frozen=True, slots=True)
class CodecOutput:
    """What one training pass gives; bits are estimates from likelihoods."""

    rate: Tensor  # (B,) bits of everything that was coded
    level_bits: Tensor  # (B, K) bits of each level's stream, NaN where a level was not run
    # (B, C, H/8, W/8) features, each picture's from its machine level; None: not asked
    f_hat: Tensor | None
    # (B, 3, H, W) pictures, each from its view level, not clipped; None: not asked
    x_hat: Tensor | None


class Codec(nn.Module):
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
        self.prior: nn.Module
        if config.sharing == "nested":
            self.prior = _build_prior(config, range(config.num_levels))
        else:
            self.prior = nn.ModuleList(
                _build_prior(config, [level]) for level in range(config.num_levels)
            )
        low, high = _GAIN_RANGE
        start = torch.linspace(0, 1, config.qualities)[:, None].expand(-1, config.coded_rows[-1])
        log_gain = torch.log(torch.tensor(low)) + start * torch.log(torch.tensor(high / low))
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse_gain = nn.Parameter(-log_gain.clone())

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
        if self.config.sharing == "nested":
            widest = self.config.num_levels - 1
            y_hat, bits = self._code(self.analyse(x, widest, lower_gradient), quality, widest)
            level_bits = bits.cumsum(1)
            rate = level_bits[:, -1]
            # the base belongs to the machine, so even the narrowest level's view is held back
            base = self.config.latent_channels[0] if machine_level is not None else 0
            held = torch.cat([scale_gradient(y_hat[:, :base], lower_gradient), y_hat[:, base:]], 1)
            for_machine, for_view = y_hat, held
        else:
            level_bits = x.new_full((len(x), self.config.num_levels), torch.nan)
            rate = x.new_zeros(len(x))
            for_machine = for_view = x.new_empty(0)
            if machine_level is not None:
                for_machine, bits = self._code_separately(x, quality, machine_level, level_bits)
                rate = rate + bits
            if view_level is not None:
                for_view, bits = self._code_separately(x, quality, view_level, level_bits)
                rate = rate + bits
        if machine_level is not None:
            read, one_hot = self.prefix(for_machine, machine_level, lower_gradient)
            f_hat = self.feature_transform(scale_gradient(read, machine_gradient), one_hot)
        if view_level is not None:
            x_hat = self.g_s(*self.prefix(for_view, view_level, lower_gradient))
        return CodecOutput(rate, level_bits, f_hat, x_hat)

    def analyse(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """x (B, 3, H, W) -> y (B, M_level, H/16, W/16) float32."""
        y: Tensor = self.g_a(x, level, lower_gradient).float()
        return y

    def gains(self, quality: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(B,) float -> gain and inverse gain of a level's channels, (B, M_level) each.

        Source: the gain units of Cui et al., CVPR 2021; between two trained qualities the gains are
        interpolated geometrically, as there.
        """
        first = self.config.coded_rows[level]
        rows = slice(first, first + self.config.latent_channels[level])
        below = quality.long().clamp(0, self.config.qualities - 1)
        above = (below + 1).clamp(max=self.config.qualities - 1)
        t = (quality - below)[:, None]
        gain, inverse = (
            torch.lerp(log[below, rows], log[above, rows], t).exp()
            for log in (self.log_gain, self.log_inverse_gain)
        )
        return gain, inverse

    def prior_of(self, level: int) -> nn.Module:
        """The prior that codes a level's stream: a `FactorizedPrior` or a `Hyperprior`."""
        return self.prior[level] if isinstance(self.prior, nn.ModuleList) else self.prior

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
        if lower_gradient != 1.0 and self.config.sharing == "nested":
            share = torch.where(group < level[:, None], lower_gradient, 1.0).to(y_hat.dtype)
            y_hat = y_hat.detach() + share[:, :, None, None] * (y_hat - y_hat.detach())
        return y_hat * kept, F.one_hot(level, self.config.num_levels).to(y_hat.dtype)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Set a new codec's scales by the pictures x (B, 3, H, W).

        Every convolution of g_a is centred and scaled: latents that start far below one are nearly
        all rounded to zero; in a run that began so the wide groups stayed dead. With a block
        transform the codec begins as a DCT coder: the convolutions' last layers start at zero.

        Source: Mishkin and Matas, "All you need is a good init" (ICLR 2016).
        """
        self._scale_analysis(x)
        if self.g_a.block is not None and self.g_s.block is not None:
            start_as_dct(self.g_a.block, self.g_s.block, x)
            last = self.g_s.body[-1]
            assert isinstance(last, nn.ConvTranspose2d)
            for parameter in last.parameters():
                parameter.zero_()
            if isinstance(self.feature_transform, StemFeatureTransform):
                self.feature_transform.take_block(self.g_s.block)
        middle = x.new_full((len(x),), (self.config.qualities - 1) / 2)
        for level in self.config.prior_levels:  # the last is the widest
            y = self.analyse(x, level)
            deviation = y.std((0, 2, 3)).clamp_min(1e-2)
            prior = self.prior_of(level)
            if isinstance(prior, FactorizedPrior):
                prior.start_from(deviation)
            else:
                assert isinstance(prior, Hyperprior)
                prior.start_from(y * self.gains(middle, level)[0][:, :, None, None])
        for decoder in (self.g_s, self.feature_transform):
            decoder.first.conv.weight.div_(deviation.clamp_min(1.0)[:, None, None])

    def _scale_analysis(self, x: Tensor) -> None:
        widest = self.config.num_levels - 1
        last = len(self.g_a.gdns)
        wanted = 0.0 if self.g_a.block is not None else _LATENT_SPREAD
        for i, conv in enumerate(self.g_a.convs):
            assert isinstance(conv, CausalConv2d | SlimmableConv2d)
            out = conv(x, widest)
            mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)).clamp_min(1e-6)
            conv.rescale((wanted if i == last else 1.0) / deviation, mean)
            if i < last:
                x = self.g_a.gdns[i](conv(x, widest), widest)

    def bits(self, x: Tensor, quality: Tensor, level: int) -> Tensor:
        """What x (B, 3, H, W) takes at a level, quality (B,): (B, number of groups), for a prior
        that is fitted alone: no gradient reaches g_a or the gains.
        """
        with torch.no_grad():
            y, (gain, _) = self.analyse(x, level), self.gains(quality, level)
        return self._bits(y * gain[:, :, None, None], gain, level)

    def _code(self, y: Tensor, quality: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """y (B, M_level, h, w) -> y_hat and the bits of each group (B, number of groups)."""
        gain, inverse = self.gains(quality, level)
        v = y * gain[:, :, None, None]
        y_hat = straight_through(v, v.round()) * inverse[:, :, None, None]
        return y_hat, self._bits(v, gain, level)

    def _bits(self, v: Tensor, gain: Tensor, level: int) -> Tensor:
        """Gained latents v (B, M_level, h, w) -> bits of each group (B, number of groups).

        Those of the rounded latents, straight through: uniform noise in place of rounding overrates
        the many small coefficients (0.57 for 0.42 bpp at the start), and a codec that begins as a
        DCT then gives them up.
        """
        prior, nested = self.prior_of(level), self.config.sharing == "nested"
        if isinstance(prior, Hyperprior):
            return prior.bits(v, level if nested else 0)
        assert isinstance(prior, FactorizedPrior)
        ends = self.config.latent_channels[: level + 1] if nested else (v.shape[1],)
        return bits_by_group(prior.likelihoods(straight_through(v, v.round()), gain), ends)

    def _code_separately(
        self, x: Tensor, quality: Tensor, level: Tensor, level_bits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Code each picture at its own level (B,): y_hat (B, M, h, w), zero beyond it, and bits
        (B,), which also go to `level_bits`.
        """
        order, latents, bits = [], [], []
        M = self.config.latent_channels[-1]
        for each in sorted(set(level.tolist())):
            index = (level == each).nonzero()[:, 0]
            y_hat, coded = self._code(self.analyse(x[index], each), quality[index], each)
            order.append(index)
            latents.append(F.pad(y_hat, (0, 0, 0, 0, 0, M - y_hat.shape[1])))
            bits.append(coded.sum(1))
            level_bits[index, each] = bits[-1].detach()
        back = torch.cat(order).argsort()
        return torch.cat(latents)[back], torch.cat(bits)[back]


def _build_prior(config: CodecConfig, levels: Sequence[int]) -> nn.Module:
    """One prior over what these levels add to each other."""
    if config.prior == "factorized":
        return FactorizedPrior(config.latent_channels[levels[-1]])
    prefixes = (config.latent_channels, config.hyper_channels)
    groups = [[b - a for a, b in pairwise((0, *(p[i] for i in levels)))] for p in prefixes]
    return Hyperprior(*groups)
