"""Darknet's `.weights` files: a header and float32 values in layer order.

```
int32 major, minor, revision | uint64 seen (int32 before 0.2) | float32 values, all little-endian
convolution with norm: beta, gamma, running mean, running variance, weight; without: bias, weight
```
Source: `load_weights_upto` and `load_convolutional_weights` in Darknet's `src/parser.c`.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import Convolutional
from slimnets.errors import DarknetWeightsError

_VERSION = struct.Struct("<iii")
_SEEN_64 = struct.Struct("<Q")
_SEEN_32 = struct.Struct("<i")


@torch.no_grad()
def load_darknet_weights(model: Darknet, path: Path | str) -> None:
    """Fill `model` from a `.weights` file, and `model.seen` from its header.

    Raises:
        DarknetWeightsError: the header is not Darknet's, or the length does not fit the graph.
    """
    path = Path(path)
    tensors = list(_tensors(model))
    expected = sum(tensor.numel() for tensor in tensors)
    with path.open("rb") as file:
        seen, header_bytes = _read_header(file.read(_VERSION.size + _SEEN_64.size), path)
        found_bytes = os.fstat(file.fileno()).st_size - header_bytes
        if found_bytes != 4 * expected:  # before anything is allocated or changed
            raise DarknetWeightsError(
                f"{path}: holds {found_bytes / 4:.10g} values; this cfg needs {expected} "
                f"({'truncated' if found_bytes < 4 * expected else 'too long'}, or of another cfg)"
            )
        file.seek(header_bytes)
        values = np.fromfile(file, dtype="<f4", count=expected)
    if not np.isfinite(values).all():
        raise DarknetWeightsError(f"{path}: holds values that are not finite; it is damaged")
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, np.split(values, ends[:-1]), strict=True):
        tensor.copy_(torch.from_numpy(part).view_as(tensor))
    model.seen = seen


@torch.no_grad()
def save_darknet_weights(model: Darknet, path: Path | str) -> None:
    """Write the weights of `model` as Darknet 0.2 does, so that Darknet and OpenCV read them."""
    with Path(path).open("wb") as file:
        file.write(_VERSION.pack(0, 2, 5) + _SEEN_64.pack(model.seen))
        for tensor in _tensors(model):
            file.write(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())


def _read_header(data: bytes, path: Path) -> tuple[int, int]:
    """Give the pictures seen and the header's length in bytes."""
    if len(data) < _VERSION.size + _SEEN_64.size:
        raise DarknetWeightsError(f"{path}: has only {len(data)} bytes; it is no weights file")
    major, minor, _ = _VERSION.unpack_from(data)
    if not (0 <= major <= 10 and 0 <= minor <= 10):
        # Version numbers above 1000 mark transposed matrices in files from 2014.
        raise DarknetWeightsError(
            f"{path}: header says version {major}.{minor}; this build reads Darknet's 0.1 to 0.2"
        )
    seen = _SEEN_64 if major * 10 + minor >= 2 else _SEEN_32
    return int(seen.unpack_from(data, _VERSION.size)[0]), _VERSION.size + seen.size


def _tensors(model: Darknet) -> Iterator[Tensor]:
    """Give parameters and running statistics in the file's order."""
    for layer in model.layers:
        if not isinstance(layer, Convolutional):
            continue
        norm = layer.norm
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            yield from (norm.bias, norm.weight, norm.running_mean, norm.running_var)
        else:
            assert layer.conv.bias is not None
            yield layer.conv.bias
        yield layer.conv.weight
