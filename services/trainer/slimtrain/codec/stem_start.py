"""How a feature transform with the detector's own first layers begins, and how fast it learns.

block of g_s, stem of the detector -> transform -fit_picture-> its picture is near the original
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.codec import Codec
from slimnets.codec.stem_transform import StemFeatureTransform, stem_cfg
from slimnets.darknet.detector import Darknet

FIT_STEPS = 300
_FIT_LEARNING_RATE = 1e-3
_WARM_UP = 50  # steps: Adam's second moments
# Of the learning rate: the stem knows its trade, the block begins as what g_s has learned.
_SHARES = {"stem.": 0.3, "block.": 0.1}

Draw = Callable[[int], tuple[Tensor, Tensor, Tensor]]


def give_stem(codec: Codec, detector: Darknet, split: int) -> Codec:
    """The same codec with a feature transform of kind "stem", begun from g_s and the detector.

    Raises:
        ValueError: the codec has no block transform to begin from.
    """
    if codec.g_s.block is None:
        raise ValueError(
            "a stem begins from the linear path of g_s, and this codec has none; train one with "
            "block_transform: true"
        )
    config = replace(codec.config, feature_transform="stem", stem=stem_cfg(detector, split))
    given = Codec(config)
    rest = {k: v for k, v in codec.state_dict().items() if not k.startswith("feature_transform.")}
    given.load_state_dict(rest, strict=False)
    transform = given.feature_transform
    assert isinstance(transform, StemFeatureTransform)
    transform.take_block(codec.g_s.block)
    transform.take_stem(detector)
    return given


def fit_picture(transform: StemFeatureTransform, draw: Draw, steps: int = FIT_STEPS) -> None:
    """Fit the transform's picture to the original, before any feature is asked for.

    Heads behind the linear part of a trained g_s alone are further from the detector's than the
    best constant (docs/decisions/0011-stem.md), since its convolutions learned to lean on it.

    Args:
        draw: step -> x (B, 3, H, W), y_hat (B, M, h, w) and level (B, K) one-hot.
    """
    groups = [
        {"params": parameters, "peak": share * _FIT_LEARNING_RATE}
        for share, parameters in learning_shares(transform)
    ]
    optimizer = torch.optim.Adam(groups)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / _WARM_UP) * (1 - step / steps)
        x, y_hat, level = draw(step)
        with torch.autocast(x.device.type, torch.bfloat16):
            error = F.mse_loss(transform.picture(y_hat, level), x)
        optimizer.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()


def learning_shares(transform: nn.Module) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Shares of the learning rate, each with the parameters of a feature transform that have it."""
    by_share: dict[float, list[nn.Parameter]] = {}
    for name, parameter in transform.named_parameters():
        share = next((s for prefix, s in _SHARES.items() if name.startswith(prefix)), 1.0)
        by_share.setdefault(share, []).append(parameter)
    yield from by_share.items()
