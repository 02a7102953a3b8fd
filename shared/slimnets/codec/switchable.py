"""Switchable slimmable layers: widths share the leading slices of one kernel, and each width has a
normalisation of its own.

A narrow result is no prefix of a wide one: every width computes, codes and sends its latent by
itself. The paper's models are built so; ours (`slimnets.codec.causal`) are measured against them.

Source: Cao et al., "Slimmable Multi-Task Image Compression for Human and Machine Vision" (IEEE
Access 2023); switchable normalisation from Yu et al., "Slimmable Neural Networks" (ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.causal import CausalGDN, DenseGDN, plain_conv


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
        return F.conv2d(x, self._weight(level), None, self.widest.stride, self.widest.padding)

    @torch.no_grad()
    def rescale(self, scale: Tensor, mean: Tensor) -> None:
        """Multiply the widest result by `scale`, channel by channel; there is no bias to take the
        mean.
        """
        self.widest.weight.mul_(scale[:, None, None, None])

    def merge(self, level: int) -> nn.Conv2d:
        """The plain convolution of one level, with a bias of zero."""
        weight = self._weight(level)
        return plain_conv(weight, weight.new_zeros(len(weight)), self.widest.stride[0])

    def _weight(self, level: int) -> Tensor:
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

    def merge(self, level: int) -> DenseGDN:
        """The layer of one level with fixed parameters, for export."""
        gdn = self.levels[level]
        assert isinstance(gdn, CausalGDN)
        return gdn.merge(0)
