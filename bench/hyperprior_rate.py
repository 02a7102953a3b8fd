"""Bits of a hyperprior on latents whose deviation varies over the picture: in integers, with
nothing rounded, and beside a factorized prior and the true scales.

    python -m bench.hyperprior_rate [--steps N]

Latents are Gaussian; their deviations, 0.2 to 15 by channel, follow two smooth fields. All learn
from such latents. A position is one place of the latent, 24 channels.
"""

from __future__ import annotations

import argparse
import math
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.prior import FactorizedPrior
from slimnets.codec.slimmable import CausalConv2d
from studies.paper.hyperprior import (
    MAX_WEIGHT,
    WEIGHT_BITS,
    Hyperprior,
    IntegerCausalConv2d,
    IntegerConv2d,
    gaussian_likelihoods,
)

CHANNELS, HYPER_CHANNELS = 24, 12
SIDE = 16  # of the latent
BATCH, HELD_OUT = 8, 256
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    steps = parser.parse_args().steps
    torch.manual_seed(SEED)
    base = torch.logspace(math.log10(0.2), math.log10(15), CHANNELS)
    mixture = F.normalize(torch.randn(CHANNELS, 2))
    v, deviation = draw(HELD_OUT, base, mixture)
    true = -torch.log2(gaussian_likelihoods(noisy(v), deviation)).sum() / HELD_OUT / SIDE**2
    print(f"true scales                {float(true):.2f} bits a position")
    print(f"integer h_s, z included    {train(_Hyper(v), v, steps, base, mixture):.2f}")
    with (
        patch.object(IntegerConv2d, "integers", _unrounded_weights),
        patch.object(IntegerCausalConv2d, "forward", _unrounded_sums),
    ):
        print(f"nothing rounded in h_s     {train(_Hyper(v), v, steps, base, mixture):.2f}")
    print(f"factorized prior           {train(_Factorized(v), v, steps, base, mixture):.2f}")


def _unrounded_weights(layer: IntegerConv2d) -> tuple[Tensor, Tensor]:
    weight = (layer.weight * 2**WEIGHT_BITS).clamp(-MAX_WEIGHT, MAX_WEIGHT)
    return weight, layer.get_parameter("bias") * 2 ** (layer.input_bits + WEIGHT_BITS)


def _unrounded_sums(
    layer: IntegerCausalConv2d, x: Tensor, level: int, lower_gradient: float = 1.0
) -> Tensor:
    sums = CausalConv2d.forward(layer, x, level, lower_gradient)
    return (sums + layer.rounding) * 2.0**-layer.shift


def draw(batch: int, base: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Latents and their deviations, (batch, CHANNELS, SIDE, SIDE) each."""
    coarse = torch.randn(batch, 2, SIDE // 4, SIDE // 4)
    fields = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")
    logarithm = torch.einsum("mf,bfhw->bmhw", mixture, fields)
    deviation = base[:, None, None] * logarithm.exp()
    return torch.randn_like(deviation) * deviation, deviation


def noisy(v: Tensor) -> Tensor:
    return v + torch.rand_like(v) - 0.5


class _Hyper(nn.Module):
    def __init__(self, v: Tensor) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.hyperprior = Hyperprior((CHANNELS,), (HYPER_CHANNELS,))
        self.hyperprior.start_from(v[:16])

    def forward(self, v: Tensor) -> Tensor:
        return self.hyperprior.bits(v, v.new_ones(()), (CHANNELS,)).sum() / len(v) / SIDE**2


class _Factorized(nn.Module):
    def __init__(self, v: Tensor) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.prior = FactorizedPrior(CHANNELS)
        self.prior.start_from(v.std((0, 2, 3)))

    def forward(self, v: Tensor) -> Tensor:
        p = self.prior.likelihoods(noisy(v), v.new_ones(v.shape[:2]))
        return -torch.log2(p).sum() / len(v) / SIDE**2


def train(model: nn.Module, held_out: Tensor, steps: int, base: Tensor, mixture: Tensor) -> float:
    """Bits a position on `held_out` after training."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(draw(BATCH, base, mixture)[0]).backward()
        optimizer.step()
    with torch.no_grad():
        return float(torch.stack([model(held_out) for _ in range(4)]).mean())


if __name__ == "__main__":
    main()
