"""What a run is about, short enough to be kept in its checkpoint and told to a person."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from slimtrain.data.pictures import Pictures

_DIGITS = 12  # of a SHA-256: nobody forges a checkpoint of his own


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
