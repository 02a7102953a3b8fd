"""What the codec is trained for: few bits, features that the detector's tail reads right, and a
picture for people.

    L = R + w_machine(level) * lambda_machine(q) * D_machine
          + w_view(level) * lambda_view(q) * 255^2 * MSE

R is the rate of all groups, counted once. D_machine is the share of the detector's information
that is lost, between 0 and about 1, so lambda_machine reads as "bits per pixel that perfect
features are worth". It is measured at three depths: the split point, the maps that the neck joins,
and the heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimcodec.model.manifest import Task
from slimnets.codec.codec import CodecNet
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.darknet.fold import freeze
from slimnets.darknet.layers import HeadSpec

_EPS = 1e-6
# A batch without objects has nothing to lose: these keep the shares below finite there.
_OBJECT_FLOOR = 1.0  # objects
_NATS_FLOOR = 1e-3  # nats per anchor and cell; a batch with objects has some 1e-2


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the objective; lambdas grow geometrically with the quality."""

    # lambda_machine of the coarsest and the finest quality, bits per pixel
    machine_range: tuple[float, float] = (0.5, 8.0)
    # lambda_view likewise (CompressAI's range for MSE is 0.0018 to 0.0483)
    view_range: tuple[float, float] = (0.0012, 0.032)
    # machine_levels, view_levels: factor of lambda at each level, the lambda schedule of SlimCAE
    # (Yang et al., CVPR 2021); zero: the level is not trained for it. The narrowest belongs to the
    # machine
    machine_levels: tuple[float, ...] = (1.0, 0.6, 0.4, 0.4)
    view_levels: tuple[float, ...] = (0.15, 0.3, 0.5, 1.0)
    lower_gradient: float = 0.5  # share of a wider group's gradient that reaches narrower groups
    # weights of split point, neck and heads in D_machine
    depth: tuple[float, float, float] = (0.4, 0.3, 0.3)

    def __post_init__(self) -> None:
        if len(self.machine_levels) != len(self.view_levels):
            raise ValueError(
                f"machine_levels {self.machine_levels} and view_levels {self.view_levels} must "
                "have a number for every level"
            )
        if not any((*self.machine_levels, *self.view_levels)):
            raise ValueError("machine_levels and view_levels are all zero: nothing to train for")

    def check_levels(self, num_levels: int) -> None:
        """Raise a ValueError where a level of the codec is not weighed."""
        if len(self.machine_levels) != num_levels:
            raise ValueError(
                f"{len(self.machine_levels)} weights in loss.machine_levels and loss.view_levels, "
                f"{num_levels} levels in codec.channels; give as many"
            )

    @property
    def tasks(self) -> list[list[Task]]:
        """What each level is trained for."""
        weights: tuple[tuple[Task, tuple[float, ...]], ...] = (
            ("detect", self.machine_levels),
            ("view", self.view_levels),
        )
        levels = range(len(self.view_levels))
        return [[task for task, by_level in weights if by_level[level]] for level in levels]


@dataclass(frozen=True, slots=True)
class CodecLosses:
    """Scalars of one step; those of each level are estimates for the log (NaN: not run)."""

    total: Tensor
    bpp: Tensor  # (K,) of each level's prefix
    machine: Tensor  # (K,) D_machine
    mse: Tensor  # (K,) of pictures in [0, 1]

    @property
    def psnr_db(self) -> Tensor:
        """(K,)."""
        return -10 * torch.log10(self.mse)


class CodecObjective(nn.Module):
    """Codec and frozen detector in one module."""

    def __init__(
        self, codec: CodecNet, detector: Darknet, split: SplitPoint, weights: LossWeights
    ) -> None:
        super().__init__()
        self.codec = codec
        self.weights = weights
        self.split = split
        # the detector is no submodule: it is neither trained, averaged nor saved with the codec
        self._frozen = [freeze(detector)]
        self.w_machine: Tensor
        self.w_view: Tensor
        # behind the split, where the neck's paths meet: what the heads are made of
        self._neck = [i for i in detector.joined_layers if i > split.layer]
        weights.check_levels(codec.config.num_levels)
        self.register_buffer("w_machine", torch.tensor(weights.machine_levels), persistent=False)
        self.register_buffer("w_view", torch.tensor(weights.view_levels), persistent=False)

    @property
    def detector(self) -> Darknet:
        return self._frozen[0]

    def forward(
        self,
        x: Tensor,
        quality: Tensor,
        machine_level: Tensor | None,
        view_level: Tensor | None,
        deep: bool,
        machine_gradient: float = 1.0,
    ) -> CodecLosses:
        """Losses of one batch.

        Args:
            x: (B, 3, H, W).
            quality: (B,) float, of each picture.
            machine_level, view_level: (B,) of each picture; None: not trained for it.
            deep: whether D_machine looks behind the split point. While features are still far off
                it must not: runs that looked deeper from the start did not learn (docs/decisions),
                and the detector's tail is two fifths of a step.
            machine_gradient: share of D_machine's gradient that reaches the latent.
        """
        lower = self.weights.lower_gradient
        out = self.codec(x, quality, machine_level, view_level, lower, machine_gradient)
        pixels = x.shape[2] * x.shape[3]
        total = out.rate / pixels  # (B,)
        K = self.codec.config.num_levels
        machine = mse = x.new_full((K,), torch.nan)
        t = quality / max(1, self.codec.config.qualities - 1)
        lambda_view = _geometric(self.weights.view_range, t)
        if out.f_hat is not None and machine_level is not None:
            d_machine = self._machine_distance(x, out.f_hat, deep)
            lambda_machine = _geometric(self.weights.machine_range, t)
            total = total + lambda_machine * self.w_machine[machine_level] * d_machine
            machine = _mean_by_level(d_machine.detach(), machine_level, K)
        if out.x_hat is not None and view_level is not None:
            d_view = (out.x_hat.float() - x).square().mean((1, 2, 3))  # (B,)
            total = total + lambda_view * 255**2 * self.w_view[view_level] * d_view
            mse = _mean_by_level(d_view.detach(), view_level, K)
        # else the finest quality, with 27 times the lambda, drowns the gradients of the others
        balance = (math.prod(self.weights.view_range) ** 0.5 / lambda_view).sqrt()
        bpp = out.level_bits.detach().nanmean(0) / pixels
        return CodecLosses((balance * total).mean(), bpp, machine, mse)

    def _machine_distance(self, x: Tensor, f_hat: Tensor, deep: bool) -> Tensor:
        """(B, 3, H, W), (B, C, h, w) -> D_machine (B,)."""
        detector, split = self.detector, self.split.layer
        with torch.no_grad():
            f = detector.stem(x, split)
        at_split = normalised_error(f_hat, f)
        if not deep:
            return at_split
        heads = detector.head_layers
        maps_hat = detector.tail_features(f_hat, split, [*self._neck, *heads])
        with torch.no_grad():
            maps = detector.tail_features(f, split, [*self._neck, *heads])
        # a detector without a neck is held to the split point and the heads alone
        at_neck = [normalised_error(maps_hat[i], maps[i]) for i in self._neck] or [at_split]
        raw_hat, raw = ([of[i] for i in heads] for of in (maps_hat, maps))
        a, b, c = self.weights.depth
        at_heads = heads_lost(raw_hat, raw, detector.head_specs)
        return a * at_split + b * torch.stack(at_neck).mean(0) + c * at_heads


def normalised_error(f_hat: Tensor, f: Tensor) -> Tensor:
    """(B, C, h, w) twice -> (B,): squared error over each channel's variance in the batch, mean."""
    f_hat, f = f_hat.float(), f.float()
    variance = f.var((0, 2, 3), correction=0) + _EPS
    return ((f_hat - f).square().mean((2, 3)) / variance).mean(1)


def heads_lost(
    heads_hat: Sequence[Tensor], heads: Sequence[Tensor], specs: Sequence[HeadSpec]
) -> Tensor:
    """(B,) share of what the heads say that is lost, mean of the heads."""
    per_head = [
        head_error(raw_hat, raw, len(spec.anchors))
        for raw_hat, raw, spec in zip(heads_hat, heads, specs, strict=True)
    ]
    return torch.stack(per_head).mean(0)


def head_error(raw_hat: Tensor, raw: Tensor, num_anchors: int) -> Tensor:
    """(B, A*(5+C), h, w) twice -> (B,): share of what a raw head says that is lost.

    Objectness: Kullback-Leibler divergence over that of the best constant. Boxes and classes:
    squared error of the raw values over their variance, both weighted by the teacher's objectness
    (elsewhere nobody reads them).
    """
    raw_hat = raw_hat.float().reshape(
        raw.shape[0], num_anchors, -1, *raw.shape[2:]
    )  # (B, A, 5 + C, h, w)
    raw = raw.float().reshape(raw.shape[0], num_anchors, -1, *raw.shape[2:])
    p = torch.sigmoid(raw[:, :, 4])  # (B, A, h, w)
    entropy = _cross_entropy(raw[:, :, 4], p)
    constant = torch.logit(p.mean((0, 2, 3), keepdim=True), eps=_EPS)
    whole = (_cross_entropy(constant, p) - entropy).mean()
    lost = (_cross_entropy(raw_hat[:, :, 4], p) - entropy).mean((1, 2, 3))  # (B,)
    others = [0, 1, 2, 3, *range(5, raw.shape[2])]
    values, weight = raw[:, :, others], p[:, :, None]
    # the variance over all cells: over the few that hold an object it can be next to nothing
    variance = values.var((0, 1, 3, 4), correction=0) + _EPS  # (4 + C,)
    error = (weight * (raw_hat[:, :, others] - values).square()).sum((1, 3, 4))  # (B, 4 + C)
    share = raw.shape[0] / (weight.sum() + _OBJECT_FLOOR)
    return 0.5 * lost / (whole + _NATS_FLOOR) + 0.5 * (error / variance).mean(1) * share


def _cross_entropy(logits: Tensor, p: Tensor) -> Tensor:
    """Of Bernoulli(sigmoid(logits)) under p, element by element, nats."""
    return F.softplus(logits) - p * logits


def _mean_by_level(values: Tensor, level: Tensor, num_levels: int) -> Tensor:
    """(B,), (B,) -> (K,) mean of each level's values; NaN where a level was not drawn."""
    one_hot = F.one_hot(level, num_levels).to(values.dtype)  # (B, K)
    return (values @ one_hot) / one_hot.sum(0)


def _geometric(ends: tuple[float, float], t: Tensor) -> Tensor:
    low, high = ends
    return low * (high / low) ** t
