"""What the codec is trained for: few bits, features that the detector's tail reads right, and a picture for people.

    L = R + sum over levels [ w_machine * lambda_machine(q) * D_machine + w_view * lambda_view(q) * 255^2 * MSE ]

R is the rate of all groups, counted once. D_machine is the share of the detector's information that is lost, between
0 and about 1, so lambda_machine reads as "bits per pixel that perfect features are worth". It is measured at three
depths: the split point, the maps that the neck joins, and the heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec import Codec
from slimnets.darknet import Darknet, SplitPoint

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the objective; lambdas grow geometrically from the coarsest quality to the finest.

    Args:
        machine_range: lambda_machine of the coarsest and the finest quality, bits per pixel.
        view_range: lambda_view likewise (CompressAI's range for MSE is 0.0018 to 0.0483).
        machine_levels, view_levels: weight of each level; the narrowest belongs to the machine.
        lower_gradient: share of a wider group's gradient that reaches narrower groups.
        depth: weights of split point, neck and heads in D_machine.
    """

    machine_range: tuple[float, float] = (0.5, 8.0)
    view_range: tuple[float, float] = (0.0012, 0.032)
    machine_levels: tuple[float, ...] = (1.0, 0.6, 0.4, 0.4)
    view_levels: tuple[float, ...] = (0.15, 0.3, 0.5, 1.0)
    lower_gradient: float = 0.1
    depth: tuple[float, float, float] = (0.2, 0.4, 0.4)


@dataclass(frozen=True, slots=True)
class CodecLosses:
    """Scalars of one step: `total` to minimise; estimates per level for the log (NaN where a level was not run)."""

    total: Tensor
    bpp: Tensor  # (K,) of each level's prefix
    machine: Tensor  # (K,) D_machine
    mse: Tensor  # (K,) of pictures in [0, 1]


class CodecObjective(nn.Module):
    """Codec and frozen detector in one module, so that distributed training wraps a single forward."""

    def __init__(self, codec: Codec, detector: Darknet, split: SplitPoint, weights: LossWeights) -> None:
        super().__init__()
        self.codec = codec
        self.weights = weights
        self.split = split
        # the detector is no submodule: it is neither trained, averaged nor saved with the codec
        self._frozen = [detector.eval().requires_grad_(False)]
        self._neck = neck_layers(detector, split)
        q = torch.linspace(0, 1, codec.config.qualities)
        self.register_buffer("lambda_machine", _geometric(weights.machine_range, q), persistent=False)
        self.register_buffer("lambda_view", _geometric(weights.view_range, q), persistent=False)

    @property
    def detector(self) -> Darknet:
        return self._frozen[0]

    def forward(self, x: Tensor, quality: Tensor, machine_levels: list[int], view_levels: list[int]) -> CodecLosses:
        """x (B, 3, H, W), quality (B,) -> losses. A level that stands for several that were not drawn is repeated
        in its list: its weight counts as often."""
        weights, K = self.weights, self.codec.config.num_levels
        with torch.no_grad():
            f = self.detector.stem(x, self.split.layer)
            target = self._deep(f)
        out = self.codec(x, quality, machine_levels, view_levels, weights.lower_gradient)
        pixels = x.shape[2] * x.shape[3]
        bpp = out.bits.cumsum(1) / pixels  # (B, K)
        total = bpp[:, -1]
        machine, mse = x.new_full((K,), torch.nan), x.new_full((K,), torch.nan)
        for level in out.levels:
            if level.f_hat is not None:
                d_machine = self._distance(level.f_hat, f, target)  # (B,)
                repeat = machine_levels.count(level.level)
                total = total + repeat * weights.machine_levels[level.level] * self.lambda_machine[quality] * d_machine
                machine[level.level] = d_machine.detach().mean()
            if level.x_hat is not None:
                d_view = (level.x_hat.float() - x).square().mean((1, 2, 3))
                repeat = view_levels.count(level.level)
                weight = repeat * weights.view_levels[level.level] * self.lambda_view[quality]
                total = total + weight * 255**2 * d_view
                mse[level.level] = d_view.detach().mean()
        return CodecLosses(total.mean(), bpp.detach().mean(0), machine, mse)

    def _deep(self, f: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Neck maps and raw heads that follow from features at the split point."""
        heads = self.detector.head_layers
        maps = self.detector.tail_features(f, self.split.layer, [*self._neck, *heads])
        return [maps[i] for i in self._neck], [maps[i] for i in heads]

    def _distance(self, f_hat: Tensor, f: Tensor, target: tuple[list[Tensor], list[Tensor]]) -> Tensor:
        neck_hat, heads_hat = self._deep(f_hat)
        neck, heads = target
        at_split = normalised_error(f_hat, f)
        at_neck = torch.stack([normalised_error(a, b) for a, b in zip(neck_hat, neck, strict=True)]).mean(0)
        specs = self.detector.head_specs
        at_heads = torch.stack(
            [head_error(a, b, len(s.anchors)) for a, b, s in zip(heads_hat, heads, specs, strict=True)]
        ).mean(0)
        a, b, c = self.weights.depth
        return a * at_split + b * at_neck + c * at_heads


def normalised_error(f_hat: Tensor, f: Tensor) -> Tensor:
    """(B, C, h, w) twice -> (B,): squared error over the variance of each channel in the batch, mean over channels."""
    f_hat, f = f_hat.float(), f.float()
    variance = f.var((0, 2, 3), correction=0) + _EPS
    return ((f_hat - f).square().mean((2, 3)) / variance).mean(1)


def head_error(raw_hat: Tensor, raw: Tensor, num_anchors: int) -> Tensor:
    """(B, A*(5+C), h, w) twice -> (B,): share of what a raw head says that is lost.

    Objectness: Kullback-Leibler divergence over that of the best constant. Boxes and classes: squared error of the
    raw values over their variance, both weighted by the teacher's objectness (elsewhere nobody reads them).
    """
    B, _, h, w = raw.shape
    raw_hat = raw_hat.float().view(B, num_anchors, -1, h, w)
    raw = raw.float().view(B, num_anchors, -1, h, w)
    p = torch.sigmoid(raw[:, :, 4])  # (B, A, h, w)
    constant = torch.logit(p.mean((0, 2, 3), keepdim=True), eps=_EPS).expand_as(p)
    entropy = F.binary_cross_entropy_with_logits(raw[:, :, 4], p, reduction="none")
    lost = (F.binary_cross_entropy_with_logits(raw_hat[:, :, 4], p, reduction="none") - entropy).mean((1, 2, 3))
    whole = (F.binary_cross_entropy_with_logits(constant, p, reduction="none") - entropy).mean()
    objectness = lost / (whole + _EPS)
    others = [0, 1, 2, 3, *range(5, raw.shape[2])]
    values, values_hat, weight = raw[:, :, others], raw_hat[:, :, others], p[:, :, None]
    mass = weight.sum() + _EPS
    mean = (weight * values).sum((0, 1, 3, 4), keepdim=True) / mass
    variance = (weight * (values - mean).square()).sum((0, 1, 3, 4)) / mass + _EPS  # (4 + C,)
    error = (weight * (values_hat - values).square()).sum((1, 3, 4)) / (mass / B)  # (B, 4 + C)
    return 0.5 * objectness + 0.5 * (error / variance).mean(1)


def neck_layers(detector: Darknet, split: SplitPoint) -> list[int]:
    """Layers behind the split whose output a later layer joins again: what the neck and heads are made of."""
    return [i for i in detector.joined_layers if i > split.layer]


def _geometric(ends: tuple[float, float], t: Tensor) -> Tensor:
    low, high = (torch.log(torch.tensor(e)) for e in ends)
    return torch.exp(low + t * (high - low))
