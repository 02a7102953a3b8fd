"""Integer convolutions carried in floats: the same sums on every device, whatever their order.

Floats lose nothing while they hold integers below 2**24, so a sum of integers has one value, in any
order, batch, layout and thread count. Fixed point: an activation a stands for a / 2**4 and lies in
0..255, a weight w for w / 2**6 and lies in -127..127; a bias is an integer in units of the sums.
Operands of eight bits are exact in TF32 and bf16 as well; it is the sums that need float32.

A sum is rounded down to fewer bits half a unit off the integers, so that an algorithm that is not
exact (Winograd, FFT) must err by half a unit before it can change a result.

Training sees the same integers and differentiates as if nothing were rounded (straight-through).

Source: Balle, Johnston, Minnen, "Integer networks for data compression with latent-variable models"
(ICLR 2019), for the idea; powers of two and the guard of half a unit are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.causal import CausalConv2d
from slimnets.errors import InexactError

ACTIVATION_BITS = 4  # behind the binary point
MAX_ACTIVATION = 255
MAX_INPUT = 127  # of |z_hat|; what lies beyond is coded, but looks like this to h_s
WEIGHT_BITS = 6  # behind the binary point
MAX_WEIGHT = 127
_EXACT_BELOW = 2**23  # the guard of half a unit takes one of float32's 24 bits
_GUARD = 0.5


class IntegerConv2d(nn.Conv2d):
    """Convolution by integers that are rounded from its parameters at every call.

    Args:
        input_bits: of the input, behind the binary point.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, input_bits: int) -> None:
        super().__init__(n_in, n_out, kernel_size, padding=kernel_size // 2)
        self.input_bits = input_bits

    def forward(self, x: Tensor) -> Tensor:
        """Integers (B, n_in, h, w) -> sums (B, n_out, h, w), integers with `input_bits` + 6 bits
        behind the point.
        """
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


def straight_through(value: Tensor, exact: Tensor) -> Tensor:
    """`exact` bit for bit, with the gradient of `value`."""
    return exact.detach() + (value - value.detach())  # the bracket is zero, so nothing is rounded
