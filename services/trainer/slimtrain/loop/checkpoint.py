"""What a run keeps: checkpoints that survive a kill at any moment, and in them the average of
weights that is shipped, and what the run is about, short enough to be told to a person.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from slimcodec.whole_file import whole_file
from slimtrain.data.pictures import Pictures

_DIGITS = 12  # of a SHA-256: nobody forges a checkpoint of his own


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` so that `path` holds the old checkpoint or the new one, never a part of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The checkpoint at `path`. Tensors and plain values only: nothing is unpickled."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


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


def digest_of_images(images: Sequence[NDArray[np.uint8]]) -> str:
    """How many there are, and a digest of their pixels."""
    return f"{len(images)} ({_digest(images)})"


def digest_of_pictures(pictures: Pictures) -> str:
    """How many there are, and a digest of their pixels, then their boxes."""
    images, boxes = [p.image for p in pictures], [p.boxes for p in pictures]
    return f"{len(pictures)} ({_digest([*images, *boxes])})"


def digest_of_weights(module: nn.Module) -> str:
    """Of all that the module keeps."""
    return _digest(value.detach().cpu().numpy() for value in module.state_dict().values())


def digest_of_file(path: Path | None) -> str:
    """Of its bytes; "none" where there is no file."""
    return "none" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]


def _digest(arrays: Iterable[NDArray[Any] | None]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(None if array is None else (array.dtype.str, array.shape)).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_DIGITS]
