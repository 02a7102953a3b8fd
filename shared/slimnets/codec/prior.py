"""Factorized prior: one learned density per latent channel, evaluated over bins whose width the
gain decides.

It guides training only. What codes bits is a set of integer tables, made from it and from counts
(`slimnets.export.tabulate`).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FILTERS = (3, 3, 3)
_INIT_SCALE = 4.0  # initial spread of the density
_SPREAD_PER_DEVIATION = 2.0
_LIKELIHOOD_BOUND = 1e-9


class FactorizedPrior(nn.Module):
    """Non-parametric cumulative density of every channel.

    Source: Balle et al., "Variational image compression with a scale hyperprior" (2018), appendix
    6.1; bins of 1/gain as in CompressAI's variable-rate entropy bottleneck
    (`EntropyBottleneckVbr`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = (1, *_FILTERS, 1)
        scale = _INIT_SCALE ** (1 / (len(_FILTERS) + 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for n_in, n_out in zip(sizes, sizes[1:], strict=False):
            start = float(torch.log(torch.expm1(torch.tensor(1 / scale / n_out))))
            self.matrices.append(torch.full((channels, n_out, n_in), start))
            self.biases.append(torch.empty(channels, n_out, 1).uniform_(-0.5, 0.5))
        for n_out in _FILTERS:
            self.factors.append(torch.zeros(channels, n_out, 1))

    @torch.no_grad()
    def start_from(self, deviation: Tensor) -> None:
        """Spread each channel's density as its latents are: standard deviations (channels,)."""
        first = self.matrices[0]  # (channels, n, 1): it alone sees the latent
        slope = F.softplus(first) * (_INIT_SCALE / _SPREAD_PER_DEVIATION / deviation)[:, None, None]
        first.copy_(torch.log(torch.expm1(slope)))

    def logits_cumulative(self, y: Tensor) -> Tensor:
        """y (M', 1, n) of the first M' channels -> logits of the cumulative density, (M', 1, n)."""
        M = y.shape[0]
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            y = torch.matmul(F.softplus(matrix[:M]), y) + bias[:M]
            if i < len(self.factors):
                y = y + torch.tanh(self.factors[i][:M]) * torch.tanh(y)
        return y

    def likelihoods(self, v: Tensor, gain: Tensor) -> Tensor:
        """Probability of the bin of width one around each gained latent, in float32 even under
        autocast.

        Args:
            v: y * gain, rounded or with noise, (B, M', h, w) float32.
            gain: (B, M').
        """
        B, M, h, w = v.shape
        with torch.autocast(v.device.type, enabled=False):
            v, g = v.float(), gain.float()[:, :, None, None]
            ends = torch.stack([(v - 0.5) / g, (v + 0.5) / g])
            flat = ends.permute(2, 0, 1, 3, 4).reshape(M, 1, -1)
            logits = self.logits_cumulative(flat).reshape(M, 2, B, h, w).permute(1, 2, 0, 3, 4)
            # evaluate in the tail where sigmoid keeps its precision
            sign = -torch.sign(logits[0] + logits[1]).detach()
            p = torch.abs(torch.sigmoid(sign * logits[1]) - torch.sigmoid(sign * logits[0]))
            return p.clamp_min(_LIKELIHOOD_BOUND)

    def bits(self, v: Tensor, gain: Tensor, ends: Sequence[int]) -> Tensor:
        """Gained latents v (B, M', h, w) -> bits of each group (B, number of groups).

        Those of the rounded latents, straight through: uniform noise in place of rounding overrates
        the many small coefficients (0.57 for 0.42 bpp at the start), and a codec that begins as a
        DCT then gives them up.

        Args:
            gain: (B, M').
            ends: of the groups, channels.
        """
        return bits_by_group(self.likelihoods(straight_through(v, v.round()), gain), ends)


def bits_by_group(likelihoods: Tensor, ends: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> bits (B, groups) of the channels between successive ends."""
    per_channel = -torch.log2(likelihoods).sum((2, 3))
    return torch.stack([per_channel[:, a:b].sum(1) for a, b in pairwise((0, *ends))], 1)


def straight_through(value: Tensor, exact: Tensor) -> Tensor:
    """`exact` bit for bit, with the gradient of `value`."""
    return exact.detach() + (value - value.detach())  # the bracket is zero, so nothing is rounded
