"""The context prior's predictors as they are fitted: floats, every step of a latent at once.

    symbols that come before -lut, 3 x 3, weights-> u = log of the scale
                             -signed, 3 x 3, weights-> m = mean        -> bits of a Laplacian

They have the structure of `slimcodec.context`, whose integers are made of them
(`slimtrain.tabulate.integers`): the scale's index there is 16 + 4 u.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LUT_STEPS = 16  # to a factor of two
LEAST_U = -2.75  # below, zero costs less than the cheapest bin of a table may
MOST_U = 7.75

# row and column modulo 2 of the places of each pass: of the first chunk, and of all others
_EVEN, _ODD, _REST = (0, 0), (1, 1), ((0, 1), (1, 0))
_FIRST = ((_EVEN,), (_ODD,), _REST)
_OTHERS = ((_EVEN, _ODD), _REST)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a frame is coded against, at the frame's own quality."""

    symbols: Tensor  # (B, M, h, w) R, float; zero in channels that it lacks
    there: Tensor  # (B, 1, h, w) channels that it has
    changed: Tensor  # (B, 1, h, w) 0 or 1
    fineness: Tensor  # (B, 1, h, w) the frame's quality over the reference's, 0 to below 8


@dataclass(frozen=True, slots=True)
class Piece:
    """What is predicted for the channels of a chunk at the places of one parity."""

    channels: slice
    rows: slice
    columns: slice
    u: Tensor  # (B, n, h', w') logarithm of the scale
    mean: Tensor  # (B, n, h', w')


class Predictor(nn.Module):
    """Weights and biases of the scales, weights of the means; all begin at zero.

    Args:
        ends: of the chunks, channels.
        inter: of differences to a reference, not of symbols.
    """

    def __init__(self, ends: Sequence[int], qualities: int, inter: bool = False) -> None:
        super().__init__()
        self.ends, self.inter = tuple(ends), inter
        self.bias = nn.Parameter(torch.zeros(qualities, 3, ends[-1]))
        self.scale, self.mean, self.fineness = (nn.ParameterDict() for _ in range(3))
        for k, (a, b) in enumerate(pairwise((0, *ends))):
            for p in range(len(passes_of(k))):
                inputs = 2 * b + (b - a) + 1 if inter else b
                self.scale[f"{k}_{p}"] = nn.Parameter(torch.zeros(b - a, inputs, 3, 3))
                if inter:
                    self.fineness[f"{k}_{p}"] = nn.Parameter(torch.zeros(b - a))
                self.mean[f"{k}_{p}"] = nn.Parameter(torch.zeros(b - a, b, 3, 3))

    def forward(
        self, symbols: Tensor, quality: Tensor, reference: Reference | None = None
    ) -> Iterator[Piece]:
        """Predict every symbol (B, M', h, w) of the first M' channels, an end, at quality (B,).

        Args:
            reference: of an inter frame. A predictor of symbols alone needs to know only which
                places did not change: those are known from the start.
        """
        h, w = symbols.shape[2:]
        bias = self._bias_at(quality)  # (B, 3, M)
        magnitude, predicted = _bordered(lut(symbols)), symbols
        if reference is not None:
            still = _bordered(1 - reference.changed)
        if self.inter:
            assert reference is not None
            channel = torch.arange(symbols.shape[1])[:, None, None]
            predicted = (symbols - reference.symbols) * (channel < reference.there)
            difference, of_reference = (_bordered(lut(t)) for t in (predicted, reference.symbols))
            changed = _bordered(reference.changed)
        signed = _bordered(predicted.clamp(-1023, 1023))
        for k, (a, b) in enumerate(pairwise((0, *self.ends))):
            if b > symbols.shape[1]:
                return
            decoded = symbols.new_zeros(1, 1, h + 2, w + 2)
            for p, parities in enumerate(passes_of(k)):
                own = decoded if reference is None else torch.maximum(decoded, still)
                inputs = [magnitude[:, :a], magnitude[:, a:b] * own]
                if self.inter:
                    inputs += [difference[:, :a], difference[:, a:b] * own]
                    inputs += [of_reference[:, a:b], changed]
                before = torch.cat(inputs, 1)
                means = torch.cat([signed[:, :a], signed[:, a:b] * own], 1)
                after = decoded.clone()
                for row, column in parities:
                    rows, columns = slice(row, h, 2), slice(column, w, 2)
                    u = _at(before, self.scale[f"{k}_{p}"], row, column)
                    u = u + bias[:, p, a:b, None, None]
                    if self.inter and reference is not None:
                        fineness = reference.fineness[:, :, rows, columns]
                        u = u + self.fineness[f"{k}_{p}"][:, None, None] * fineness
                    mean = _at(means, self.mean[f"{k}_{p}"], row, column)
                    yield Piece(slice(a, b), rows, columns, _held(u), mean)
                    after[:, :, row + 1 : h + 1 : 2, column + 1 : w + 1 : 2] = 1
                decoded = after

    def _bias_at(self, quality: Tensor) -> Tensor:
        low = quality.long().clamp(0, max(0, len(self.bias) - 2))
        high = (low + 1).clamp(max=len(self.bias) - 1)
        return torch.lerp(self.bias[low], self.bias[high], (quality - low)[:, None, None])


def passes_of(chunk: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The parities of rows and columns that each pass of a chunk takes."""
    return _OTHERS if chunk else _FIRST


def lut(symbols: Tensor) -> Tensor:
    """About log2(1 + |symbol|), in the steps of 1/16 that the integers have."""
    return torch.round(LUT_STEPS * torch.log2(1 + symbols.abs().clamp(max=255))) / LUT_STEPS


def laplace_bits(symbols: Tensor, u: Tensor, mean: Tensor) -> Tensor:
    """Bits of integers under a Laplacian of scale exp(u) around the mean, over bins of width 1; all
    of one shape.
    """
    bits: Tensor = _LaplaceBits.apply(symbols, u, mean)
    return bits


class _LaplaceBits(torch.autograd.Function):
    """Most of a step's time, were it left to automatic differentiation.

    With r = exp(-u) and d the distance to the mean, where d >= 0.5
        bits = (d - 0.5) r + log(2) - log(1 - exp(-r))
    and in the bin of the mean, with n = exp(-(0.5 - d) r) and f = exp(-(0.5 + d) r),
        bits = -log(1 - (n + f) / 2)
    over log(2).
    """

    @staticmethod
    def forward(ctx: Any, symbols: Tensor, u: Tensor, mean: Tensor) -> Tensor:
        off = symbols - mean
        d, r = off.abs(), torch.exp(-u)
        is_inside = d < 0.5
        beyond = d - 0.5
        near, far = torch.exp(beyond.clamp(max=0) * r), torch.exp(-(d + 0.5) * r)
        p = (1 - 0.5 * (near + far)).clamp_(min=1e-9)
        grown = torch.expm1(r)
        by_r = torch.where(
            is_inside, 0.5 * (beyond * near - (d + 0.5) * far) / p, beyond - 1 / grown
        )
        by_d = r * torch.where(is_inside, 0.5 * (near - far) / p, 1)
        ctx.save_for_backward(-r * by_r / math.log(2), -off.sign() * by_d / math.log(2))
        outside = beyond * r + math.log(2) + r - torch.log(grown)
        return torch.where(is_inside, -torch.log(p), outside) / math.log(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        by_u, by_mean = ctx.saved_tensors
        return None, gradient * by_u, gradient * by_mean


def _held(u: Tensor) -> Tensor:
    """Hardly below the least: what lies there can still be learned from."""
    return (F.leaky_relu(u - LEAST_U, 0.1) + LEAST_U).clamp(max=MOST_U)


def _bordered(values: Tensor) -> Tensor:
    """With a border of one place, zeros."""
    return F.pad(values, [1] * 4)


def _at(inputs: Tensor, weight: Tensor, row: int, column: int) -> Tensor:
    """3 x 3 sums of padded inputs (B, C, h + 2, w + 2) at every second place from (row, column)."""
    return F.conv2d(inputs[:, :, row:, column:], weight, stride=2)
