"""Begin a codec with the weights of another: a retrained codec, another detector, another size."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors.torch import load_file

from slimnets.codec import Codec
from slimtrain.checkpoint import load_checkpoint

_log = logging.getLogger(__name__)


def begin_with(codec: Codec, source: Path) -> list[str]:
    """Copy every weight of `source` whose name and shape fit, and return the names of the others.

    Args:
        source: a codec artifact's folder, or a checkpoint of `slimwire train codec` (of which the
            average is taken).

    Raises:
        FileNotFoundError: there is neither.
        ValueError: nothing fits, so that this would not be a beginning.
    """
    given = _weights(source)
    ours = codec.state_dict()
    fitting = {k: v for k, v in given.items() if k in ours and v.shape == ours[k].shape}
    if not fitting:
        raise ValueError(f"{source}: no weight fits this configuration; begin without it")
    codec.load_state_dict({**ours, **fitting})
    rest = sorted(set(ours) - set(fitting))
    _log.info("%s: %d weights taken, %d begin new", source, len(fitting), len(rest))
    return rest


def _weights(source: Path) -> dict[str, torch.Tensor]:
    if source.is_dir():
        path = source / "weights.safetensors"
        if not path.exists():
            raise FileNotFoundError(f"{path}: no weights; give the folder of a codec")
        return {name: value.float() for name, value in load_file(path).items()}
    state = load_checkpoint(source, torch.device("cpu"))
    if state is None:
        raise FileNotFoundError(f"{source}: neither a codec's folder nor a checkpoint")
    weights: dict[str, torch.Tensor] = state["average"]["state"]
    return weights
