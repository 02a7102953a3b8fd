"""Scale hyperprior whose scales cannot fall out of step: side information z chooses a Gaussian for
every latent, through integers only.

v -|.|- h_a -> z - round -> z_hat -h_s-> scale index -> one of 64 stored tables -> codes round(v)
                   `-> factorized tables

v is the gained latent (y * gain), so one hyperprior serves every quality. All layers are
channel-causal: scales of group k read z groups 0..k, and a narrow stream is a prefix of a wide one.
h_a is an ordinary float network: what it gives is sent. h_s runs on both sides and is made of
integers, carried in floats: those lose nothing below 2**24, so a sum has one value in any order,
batch, layout and thread count. Fixed point: an activation a stands for a / 2**4 and lies in
0..255, a weight w for w / 2**6 and lies in -127..127; a bias is an integer in units of the sums.
Operands of eight bits are exact in TF32 and bf16 as well; it is the sums that need float32. A sum
is rounded down to fewer bits half a unit off the integers, so that an algorithm that is not exact
(Winograd, FFT) must err by half a unit before it can change a result. Training sees the same
integers and differentiates as if nothing were rounded (straight-through).

Source: Balle et al., "Variational image compression with a scale hyperprior" (2018), for the model;
Balle, Johnston, Minnen, "Integer networks for data compression with latent-variable models" (ICLR
2019), for integers. Channel-causal groups, pixel shuffle in place of transposed convolutions,
powers of two and the guard of half a unit are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.prior import FactorizedPrior, bits_by_group, straight_through
from slimnets.codec.slimmable import CausalConv2d
from slimnets.errors import NetError

NUM_SCALES = 64
_SCALE_RANGE = (0.11, 128.0)  # in steps of v; below, zero costs 1e-5 bits anyway
_SCALE_STEP = math.log(_SCALE_RANGE[1] / _SCALE_RANGE[0]) / (NUM_SCALES - 1)
# Standard deviations by index, log-spaced as in CompressAI's `get_scale_table` (from 0.11 to 256).
SCALES = tuple(_SCALE_RANGE[0] * math.exp(_SCALE_STEP * i) for i in range(NUM_SCALES))

# h_s's last layer works in units of eight indexes (0.9 nats), so that a step of its weights weighs
# as much as one of the layers before it.
_INDEX_BITS = 3
LEAK = 0.1  # of h_a's activations
_Z_SPREAD = 2.0  # standard deviation of z at the start, which the factorized prior expects
_LIKELIHOOD_BOUND = 1e-9  # as in the factorized prior

ACTIVATION_BITS = 4  # behind the binary point
MAX_ACTIVATION = 255
MAX_INPUT = 127  # of |z_hat|; what lies beyond is coded, but looks like this to h_s
WEIGHT_BITS = 6  # behind the binary point
MAX_WEIGHT = 127
_EXACT_BELOW = 2**23  # the guard of half a unit takes one of float32's 24 bits
_GUARD = 0.5


class InexactError(NetError):
    """An integer network whose sums float32 might not hold: edge and cloud could disagree."""


class Hyperprior(nn.Module):
    """h_a, h_s and the rates of both latents.

    Args:
        latent_groups: latent channels that each level adds.
        hyper_groups: channels of z that each level adds; also the hidden widths of h_a and h_s.
    """

    def __init__(self, latent_groups: Sequence[int], hyper_groups: Sequence[int]) -> None:
        super().__init__()
        self.latent_prefix = tuple(accumulate(latent_groups))
        self.hyper_prefix = tuple(accumulate(hyper_groups))
        self.h_a = nn.ModuleList(
            [
                CausalConv2d(latent_groups, hyper_groups, 3, stride=1),
                CausalConv2d(hyper_groups, hyper_groups, 5, stride=2),
                CausalConv2d(hyper_groups, hyper_groups, 5, stride=2),
            ]
        )
        shuffled = [4 * n for n in hyper_groups]
        self.h_s = nn.ModuleList(
            IntegerCausalConv2d(hyper_groups, outputs, 3, input_bits, output_bits, max_input)
            for outputs, input_bits, output_bits, max_input in (
                (shuffled, 0, ACTIVATION_BITS, MAX_INPUT),
                (shuffled, ACTIVATION_BITS, ACTIVATION_BITS, MAX_ACTIVATION),
                (latent_groups, ACTIVATION_BITS, _INDEX_BITS, MAX_ACTIVATION),
            )
        )
        self.prior = FactorizedPrior(self.hyper_prefix[-1])

    def forward(self, v: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Gained latents -> z_hat (B, Mz_level, h/4, w/4), scale indexes (B, M_level, h, w)."""
        z_hat = self.analyse(v, level).round()
        return z_hat, self.scale_index(z_hat, level)

    def analyse(self, v: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """Gained latents (B, M_level, h, w), h and w multiples of 4 -> z (B, Mz_level, h/4, w/4).

        `lower_gradient` is the share of a wider group's gradient that reaches narrower ones, as in
        `CausalConv2d`.
        """
        z = v.abs()
        for i, conv in enumerate(self.h_a):
            z = conv(z if i == 0 else F.leaky_relu(z, LEAK), level, lower_gradient)
        return z

    def scale_index(self, z_hat: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """Integers (B, Mz_level, h/4, w/4) -> indexes 0 to 63 (B, M_level, h, w), of their type."""
        with torch.autocast(z_hat.device.type, enabled=False):
            index: Tensor = _ClampIndex.apply(self._free_index(z_hat, level, lower_gradient))
        return index

    def bits(
        self, v: Tensor, gain: Tensor, ends: Sequence[int], lower_gradient: float = 1.0
    ) -> Tensor:
        """As `FactorizedPrior.bits`, of groups 0 to a level, z's part included; whatever the gain.

        The scales are those of the integer indexes, bit for bit; only gradients see them as
        continuous. The rates are those of rounded latents, straight through (`FactorizedPrior.bits`
        says why).
        """
        level = len(ends) - 1
        with torch.autocast(v.device.type, enabled=False):
            v = v.float()
            z = self.analyse(v, level, lower_gradient)
            z_hat, rounded = (straight_through(u, u.round()) for u in (z, v))
            index = self.scale_index(z_hat, level, lower_gradient)
            z_likelihoods = self.prior.likelihoods(z_hat, z.new_ones(z.shape[:2]))
            v_likelihoods = gaussian_likelihoods(rounded, scale_of(index))
            return bits_by_group(z_likelihoods, self.hyper_prefix[: level + 1]) + bits_by_group(
                v_likelihoods, ends
            )

    @torch.no_grad()
    def start_from(self, v: Tensor) -> None:
        """Begin at the factorized optimum for gained latents v (B, M, h, w): z of one spread,
        whatever that of its inputs, and each latent channel's scale at its measured deviation.
        """
        widest = len(self.latent_prefix) - 1
        deviation = v.square().mean((0, 2, 3)).sqrt().clamp(*_SCALE_RANGE)  # (M,)
        z = v.abs()
        for i, conv in enumerate(self.h_a):
            assert isinstance(conv, CausalConv2d)
            if i == 0:
                for _, group in conv.filled(widest):
                    group.weight.div_(deviation[: group.in_channels, None, None])
            else:
                z = F.leaky_relu(z, LEAK)
            out = conv(z, widest)
            scale = (_Z_SPREAD if i == len(self.h_a) - 1 else 1.0) / out.std((0, 2, 3)).clamp_min(
                1e-6
            )
            conv.rescale(scale, out.mean((0, 2, 3)))
            z = conv(z, widest)
        wanted = torch.log(deviation / _SCALE_RANGE[0]) / _SCALE_STEP
        off = (wanted - self._free_index(z.round(), widest).mean((0, 2, 3))) / 2**_INDEX_BITS
        last = self.h_s[-1]
        assert isinstance(last, IntegerCausalConv2d)
        for k, group in last.filled(widest):
            start = (0, *self.latent_prefix)[k]
            group.get_parameter("bias").add_(off[start : self.latent_prefix[k]])

    def _free_index(self, z_hat: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """Integer indexes that are not yet held to 0..63."""
        a = z_hat.clamp(-MAX_INPUT, MAX_INPUT)
        for conv in self.h_s[:-1]:
            a = F.pixel_shuffle(conv(a, level, lower_gradient).clamp(0, MAX_ACTIVATION), 2)
        index: Tensor = self.h_s[-1](a, level, lower_gradient)
        return index


def scale_of(index: Tensor) -> Tensor:
    """Standard deviation of each (possibly continuous) index."""
    return _SCALE_RANGE[0] * torch.exp(_SCALE_STEP * index)


def gaussian_likelihoods(v: Tensor, scale: Tensor) -> Tensor:
    """Probability of the bin of width one around v under a Gaussian of mean zero."""
    magnitude = v.abs()  # both ends in the lower tail, where erfc keeps its precision
    upper = _normal_cdf((0.5 - magnitude) / scale)
    lower = _normal_cdf((-0.5 - magnitude) / scale)
    return (upper - lower).clamp_min(_LIKELIHOOD_BOUND)


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * x)


class _ClampIndex(torch.autograd.Function):
    """Holds indexes to 0..63, and lets only such gradients through beyond the ends as lead back: a
    channel that has sunk below the smallest scale can rise again, and none drifts away.
    """

    @staticmethod
    def forward(ctx: Any, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return index.clamp(0, NUM_SCALES - 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (index,) = ctx.saved_tensors
        returns = ((index >= 0) | (gradient < 0)) & ((index <= NUM_SCALES - 1) | (gradient > 0))
        held: Tensor = gradient * returns
        return held


class IntegerConv2d(nn.Conv2d):
    """Convolution by integers that are rounded from its parameters at every call.

    Args:
        input_bits: of the input, behind the binary point.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, input_bits: int) -> None:
        super().__init__(n_in, n_out, kernel_size, padding=kernel_size // 2)
        self.input_bits = input_bits

    def forward(self, x: Tensor) -> Tensor:
        """Integers (B, n_in, h, w) -> sums (B, n_out, h, w), `input_bits` + 6 bits of fraction."""
        weight, bias = self.integers()
        return F.conv2d(x, weight, bias, padding=self.padding)

    def integers(self) -> tuple[Tensor, Tensor]:
        """Weight and bias as integers."""
        weight = (self.weight * 2**WEIGHT_BITS).clamp(-MAX_WEIGHT, MAX_WEIGHT)
        bias = self.get_parameter("bias") * 2 ** (self.input_bits + WEIGHT_BITS)
        return straight_through(weight, weight.round()), straight_through(bias, bias.round())


class IntegerCausalConv2d(CausalConv2d):
    """Block lower-triangular integer convolution of stride one, whose sums lose bits again.

    Args:
        in_groups, out_groups: channels that each level adds, as in `CausalConv2d`.
        input_bits, output_bits: behind the binary point; the sums have `input_bits` + 6.
        max_input: largest magnitude of the input.
    """

    def __init__(
        self,
        in_groups: Sequence[int],
        out_groups: Sequence[int],
        kernel_size: int,
        input_bits: int,
        output_bits: int,
        max_input: int,
    ) -> None:
        super().__init__(in_groups, out_groups, kernel_size, stride=1)
        self.groups = nn.ModuleList(
            IntegerConv2d(n_in, n_out, kernel_size, input_bits)
            for n_in, n_out in zip(self.in_prefix, out_groups, strict=True)
        )
        self.input_bits, self.max_input = input_bits, max_input
        self.shift = input_bits + WEIGHT_BITS - output_bits  # bits that are dropped

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """Integers (B, in_prefix[level], h, w) -> rounded integers (B, out_prefix[level], h, w)."""
        scaled = (super().forward(x, level, lower_gradient) + self.rounding) * 2.0**-self.shift
        return straight_through(scaled, scaled.floor())

    @property
    def rounding(self) -> float:
        """What is added before the shift: half of the dropped bits' range, and the guard."""
        return 2.0 ** (self.shift - 1) + _GUARD

    @torch.no_grad()
    def check_sums(self, level: int) -> None:
        """Hold the largest sum of a level that any input could lead to against float32.

        Raises:
            InexactError: float32 does not hold it.
        """
        bound = 0.0
        for _, conv in self.filled(level):
            assert isinstance(conv, IntegerConv2d)
            weight, bias = conv.integers()
            bound = max(bound, largest_sum(weight, bias + self.rounding, self.max_input))
        if bound >= _EXACT_BELOW:
            raise InexactError(
                f"sums of h_s may reach {bound:.0f} and are exact below {_EXACT_BELOW} only; "
                "shrink its weights (weight decay) or its hidden channels, and export again"
            )


def largest_sum(weight: Tensor, bias: Tensor, max_input: int) -> float:
    """Bound of every partial sum of a convolution (C_out, C_in, k, k) over inputs of that size."""
    magnitudes = weight.double().abs().sum((1, 2, 3)) * max_input + bias.double().abs()
    return float(magnitudes.detach().max())
