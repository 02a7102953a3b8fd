"""What a codec's training run made of its device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slimnets.codec.codec import Codec
from slimtrain.codec.loss import LossWeights
from slimtrain.loop.throughput import throughput


def codec_throughput(
    codec: Codec, weights: LossWeights, batch: int, crop: int, steps: int, seconds: float
) -> str | None:
    """As `throughput`.

    Args:
        weights: say which levels each task trains; the widest of them is counted.
        crop: side of a picture, pixels.
    """
    device = codec.log_gain.device
    x = torch.zeros(1, 3, crop, crop, device=device)
    quality = torch.zeros(1, device=device)
    levels = (_widest(of_task, device) for of_task in (weights.machine_levels, weights.view_levels))
    return throughput(codec, (x, quality, *levels), batch, steps, seconds)


def _widest(weights: Sequence[float], device: torch.device) -> Tensor | None:
    trained = [level for level, weight in enumerate(weights) if weight]
    return torch.tensor(trained[-1:], device=device) if trained else None
