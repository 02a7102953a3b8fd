"""The paper's way to share weights, to measure nested levels against.

Widths share the leading slices of one kernel, and each has a normalisation, a prior and gains of
its own; every width computes, codes and sends its latent by itself.

Source: Cao et al., "Slimmable Multi-Task Image Compression for Human and Machine Vision" (IEEE
Access 2023); Yu et al., "Slimmable Neural Networks" (ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.codec import CodecNet, CodecOutput, start_gains
from slimnets.codec.config import CodecConfig
from slimnets.codec.prior import straight_through
from slimnets.codec.slimmable import CausalGDN, scale_gradient
from slimnets.codec.transform import LATENT_SPREAD, AnalysisTransform
from studies.paper.config import PaperConfig
from studies.paper.hyperprior_codec import HyperpriorCodec


class SlimmableConv2d(nn.Module):
    """Convolution whose first channels are a narrower convolution; no bias, as in the paper.

    Args:
        in_widths, out_widths: channels at each level.
    """

    def __init__(
        self, in_widths: Sequence[int], out_widths: Sequence[int], kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        self.in_widths, self.out_widths = tuple(in_widths), tuple(out_widths)
        self.widest = nn.Conv2d(
            in_widths[-1], out_widths[-1], kernel_size, stride, kernel_size // 2, bias=False
        )

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """(B, in_widths[level], H, W) -> (B, out_widths[level], H/stride, W/stride).

        There are no groups whose gradient `lower_gradient` could hold back.
        """
        return F.conv2d(x, self.weight_of(level), None, self.widest.stride, self.widest.padding)

    def weight_of(self, level: int) -> Tensor:
        """The kernel of one level."""
        return self.widest.weight[: self.out_widths[level], : self.in_widths[level]]


class SwitchableGDN(nn.Module):
    """A generalised divisive normalisation for each level; formula and source as `CausalGDN`."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(CausalGDN((width,)) for width in widths)

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """(B, widths[level], H, W) -> the same shape; `lower_gradient` as in `SlimmableConv2d`."""
        y: Tensor = self.levels[level](x, 0)
        return y


class SwitchableAnalysis(AnalysisTransform):
    """g_a with switchable widths."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__(config)
        widths = [(3,) * config.num_levels, *zip(*config.channels, strict=True)]
        self.convs = nn.ModuleList(
            SlimmableConv2d(n_in, n_out, 5, stride=2) for n_in, n_out in pairwise(widths)
        )
        self.gdns = nn.ModuleList(SwitchableGDN(width) for width in widths[1:4])

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """As `AnalysisTransform.start_from`, at the widest level; no bias takes the mean."""
        widest, last = len(self.latent_channels) - 1, len(self.gdns)
        for i, conv in enumerate(self.convs):
            assert isinstance(conv, SlimmableConv2d)
            spread = 1.0 if i < last else LATENT_SPREAD if self.block is None else 0.0
            deviation = conv(x, widest).std((0, 2, 3)).clamp_min(1e-6)
            conv.widest.weight.mul_((spread / deviation)[:, None, None, None])
            if i < last:
                x = self.gdns[i](conv(x, widest), widest)


class SwitchableCodec(CodecNet):
    """A codec whose levels are coded each by itself."""

    config: PaperConfig

    def __init__(self, config: CodecConfig) -> None:
        assert isinstance(config, PaperConfig)
        super().__init__(config)
        self.g_a = SwitchableAnalysis(config)
        levels = range(config.num_levels)
        self.prior = nn.ModuleList(  # type: ignore[assignment]  # one for each level
            _build_alone(config, level).prior for level in levels
        )
        self.log_gain = nn.Parameter(start_gains(config.qualities, config.first_rows[-1]))
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
        """As `CodecNet.forward`; a picture is coded at the level of each of its tasks."""
        f_hat = x_hat = None
        level_bits = x.new_full((len(x), self.config.num_levels), torch.nan)
        rate = x.new_zeros(len(x))
        if machine_level is not None:
            y_hat, bits = self._code_separately(x, quality, machine_level, level_bits)
            read, one_hot = self.prefix(y_hat, machine_level)
            f_hat = self.feature_transform(scale_gradient(read, machine_gradient), one_hot)
            rate = rate + bits
        if view_level is not None:
            y_hat, bits = self._code_separately(x, quality, view_level, level_bits)
            x_hat = self.g_s(*self.prefix(y_hat, view_level))
            rate = rate + bits
        return CodecOutput(rate, level_bits, f_hat, x_hat)

    def gains(self, quality: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """As `CodecNet.gains`, from the level's own rows."""
        first, end = self.config.first_rows[level : level + 2]
        logs = (self.log_gain[:, first:end], self.log_inverse_gain[:, first:end])
        below = quality.long().clamp(0, self.config.qualities - 1)
        above = (below + 1).clamp(max=self.config.qualities - 1)
        gain, inverse = (
            torch.lerp(log[below], log[above], (quality - below)[:, None]).exp() for log in logs
        )
        return gain, inverse

    def start_prior(self, x: Tensor) -> Tensor:
        """As `CodecNet.start_prior`, of every level; the widest latent's deviations."""
        for level in range(self.config.num_levels):
            alone = self.alone(level)
            deviation = alone.start_prior(x)
            self._priors[level].load_state_dict(alone.prior.state_dict())
        return deviation

    def bits(self, x: Tensor, quality: Tensor) -> Tensor:
        """As `CodecNet.bits`, of all levels: (B, K)."""
        each: list[Tensor] = []
        for level in range(self.config.num_levels):
            with torch.no_grad():
                y, (gain, _) = self.analyse(x, level), self.gains(quality, level)
            each.append(self._bits(y * gain[:, :, None, None], gain, level))
        return torch.stack(each, 1)

    @torch.no_grad()
    def alone(self, level: int) -> CodecNet:
        """A level as a codec of one level, with copies of its weights: what is exported. Its
        decoders are new.
        """
        codec = _build_alone(self.config, level).to(self.log_gain.device)
        for conv, own in zip(codec.g_a.convs, self.g_a.convs, strict=True):
            assert isinstance(own, SlimmableConv2d)
            weight = own.weight_of(level)
            state = {"0.weight": weight, "0.bias": weight.new_zeros(len(weight))}
            conv.get_submodule("groups").load_state_dict(state)
        for gdn, norms in zip(codec.g_a.gdns, self.g_a.gdns, strict=True):
            assert isinstance(norms, SwitchableGDN)
            gdn.load_state_dict(norms.levels[level].state_dict())
        if codec.g_a.block is not None and self.g_a.block is not None:
            M = codec.config.latent_channels[-1]
            kept = {name: value[:M] for name, value in self.g_a.block.state_dict().items()}
            codec.g_a.block.load_state_dict(kept)
        codec.prior.load_state_dict(self._priors[level].state_dict())
        first, end = self.config.first_rows[level : level + 2]
        codec.log_gain.copy_(self.log_gain[:, first:end])
        codec.log_inverse_gain.copy_(self.log_inverse_gain[:, first:end])
        return codec.train(self.training)

    @property
    def _priors(self) -> nn.ModuleList:
        assert isinstance(self.prior, nn.ModuleList)
        return self.prior

    def _bits(self, v: Tensor, gain: Tensor, level: int) -> Tensor:
        """Gained latents of a level -> bits (B,)."""
        bits: Tensor = self._priors[level].bits(v, gain, v.shape[1:2])  # type: ignore[operator]  # a prior's
        return bits[:, 0]

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
            y, (gain, inverse) = self.analyse(x[index], each), self.gains(quality[index], each)
            v = y * gain[:, :, None, None]
            y_hat = straight_through(v, v.round()) * inverse[:, :, None, None]
            order.append(index)
            latents.append(F.pad(y_hat, (0, 0, 0, 0, 0, M - y_hat.shape[1])))
            bits.append(self._bits(v, gain, each))
            level_bits[index, each] = bits[-1].detach()
        back = torch.cat(order).argsort()
        return torch.cat(latents)[back], torch.cat(bits)[back]


def _build_alone(config: PaperConfig, level: int) -> CodecNet:
    """A new codec of one level."""
    alone = config.alone(level)
    return HyperpriorCodec(alone) if alone.prior == "hyperprior" else CodecNet(alone)
