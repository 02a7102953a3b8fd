"""Layers that know levels: channel-causal ones.

Output group k reads input groups 0..k only, so a narrow result is a prefix of a
wide one. Every group has parameters and a convolution of its own. The prefix is therefore exact in
floating point, a narrow loss cannot touch wide-only parameters, and the width is an argument:
layers hold no state that a call could change.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Keeps sqrt's slope finite for parameters near zero (the pedestal of CompressAI's
# NonNegativeParametrizer, 2**-36).
_GDN_GAMMA_START = 0.1
_GDN_OFF_DIAGONAL_START = 1e-3
GDN_BETA_FLOOR = 1e-3


class CausalConv2d(nn.Module):
    """Block lower-triangular convolution.

    Args:
        in_groups: input channels that each level adds; a zero means that the level adds none (the
            picture itself).
        out_groups: output channels that each level adds; zero likewise.
    """

    def __init__(
        self, in_groups: Sequence[int], out_groups: Sequence[int], kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        self.in_prefix = tuple(accumulate(in_groups))
        self.out_prefix = tuple(accumulate(out_groups))
        # a level that adds nothing has a placeholder, so that group k stays at index k
        self.groups = nn.ModuleList(
            nn.Conv2d(n_in, n_out, kernel_size, stride, padding=kernel_size // 2)
            if n_out
            else nn.Identity()
            for n_in, n_out in zip(self.in_prefix, out_groups, strict=True)
        )

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """(B, in_prefix[level], H, W) -> (B, out_prefix[level], H/stride, W/stride).

        `lower_gradient` scales what the groups of wider levels send back into narrower ones; 0
        keeps the base entirely to its own losses. It changes no value of the result.
        """
        outs = [
            conv(_visible(x, self.in_prefix, k, lower_gradient)) for k, conv in self.filled(level)
        ]
        return torch.cat(outs, 1)

    @torch.no_grad()
    def rescale(self, scale: Tensor, mean: Tensor) -> None:
        """Make the result (result - mean) * scale, channel by channel."""
        for k, conv in self.filled(len(self.groups) - 1):
            rows, bias = (
                slice((0, *self.out_prefix)[k], self.out_prefix[k]),
                conv.get_parameter("bias"),
            )
            conv.weight.mul_(scale[rows, None, None, None])
            bias.copy_((bias - mean[rows]) * scale[rows])

    def filled(self, level: int) -> list[tuple[int, nn.Conv2d]]:
        """Number and convolution of the groups up to `level` that have output channels."""
        groups = enumerate(self.groups[: level + 1])
        return [(k, conv) for k, conv in groups if isinstance(conv, nn.Conv2d)]


class CausalGDN(nn.Module):
    """Block lower-triangular generalised divisive normalisation.

    y_i = x_i / (beta_i + sum_j gamma_ij |x_j|)

    Source: Balle, Laparra, Simoncelli, "Density modeling of images using a generalized
    normalization transformation" (2016), with exponents of one as in Johnston et al.,
    "Computationally efficient neural image compression" (2019, section 3.1): no loss in
    rate-distortion, no squares or roots at the edge.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        super().__init__()
        self.prefix = tuple(accumulate(groups))
        self.beta = nn.ParameterList(torch.ones(n) for n in groups)
        self.gamma = nn.ParameterList()
        for n, total in zip(groups, self.prefix, strict=True):
            start = torch.full((n, total), _GDN_OFF_DIAGONAL_START)
            start[torch.arange(n), total - n + torch.arange(n)] = _GDN_GAMMA_START
            self.gamma.append(start.sqrt())

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """(B, prefix[level], H, W) -> the same shape; `lower_gradient` as in `CausalConv2d`."""
        magnitude = x.abs()
        outs = []
        for k in range(level + 1):
            if self.beta[k].numel() == 0:
                continue  # the level adds nothing here
            visible = _visible(magnitude, self.prefix, k, lower_gradient)
            norm = F.conv2d(visible, self._gamma(k)[..., None, None], self._beta(k))
            outs.append(x[:, self.prefix[k - 1] if k else 0 : self.prefix[k]] / norm)
        return torch.cat(outs, 1)

    def _beta(self, k: int) -> Tensor:
        beta: Tensor = self.beta[k].square() + GDN_BETA_FLOOR
        return beta

    def _gamma(self, k: int) -> Tensor:
        gamma: Tensor = self.gamma[k].square()
        return gamma


def _visible(x: Tensor, prefix: Sequence[int], k: int, lower_gradient: float) -> Tensor:
    """The channels that group `k` may read; those of narrower groups get a scaled gradient."""
    own = prefix[k - 1] if k else 0
    seen = x[:, : prefix[k]]
    if own == 0 or own == prefix[k] or lower_gradient == 1.0:
        return seen
    return torch.cat([scale_gradient(seen[:, :own], lower_gradient), seen[:, own:]], 1)


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """`x` itself, whose gradient is multiplied by `scale` on the way back."""
    if scale == 1.0:
        return x
    return x.detach() + scale * (x - x.detach()) if scale else x.detach()
