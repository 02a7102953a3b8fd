"""The average of weights that is shipped: an exponential one, which early on forgets faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def build_average(module: nn.Module, decay: float) -> AveragedModel:
    """The average of everything in `module` that is a floating-point number, begun as it is now.

    Source: Polyak averaging with the warm-up min(decay, (1 + t) / (10 + t)) of TensorFlow's
    ExponentialMovingAverage.
    """

    @torch.no_grad()
    def update(averages: Any, values: Any, _: Tensor | int) -> None:  # all of one dtype
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        t = int(average.n_averaged)  # on the host: what is passed would wait for the device
        torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + t) / (10 + t)))

    average = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    average.update_parameters(module)  # the first call only copies
    return average


def save_average(average: AveragedModel) -> dict[str, Any]:
    """What a checkpoint keeps: plain names of weights, as those who export read them."""
    return {"steps": int(average.n_averaged) - 1, "state": average.module.state_dict()}


def load_average(average: AveragedModel, saved: dict[str, Any]) -> None:
    """Go on where `save_average` was."""
    average.module.load_state_dict(saved["state"])
    average.n_averaged.fill_(int(saved["steps"]) + 1)
