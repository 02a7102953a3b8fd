"""`weights.safetensors`: a model's weights, once, for the graphs beside it and to train on.

    module -save_weights-> weights.safetensors <-reference, by offset- g_a_0.onnx, g_s.onnx, ...

An ONNX file may keep a tensor's data in another file, at an offset ("external data"); a safetensors
file is a header and the bare data, so both formats fit the same bytes. Runtimes map the file and
read what a graph names.

Source: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md and
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors.numpy import save_file
from torch import Tensor, nn

WEIGHTS_FILE = "weights.safetensors"

_COUNTER = "num_batches_tracked"  # only training with a cumulative average needs it
_DATA_TYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
# float16 rounds to 2^-11 of a value; a tensor that loses more (too large, or all tiny) stays
# float32.
_MAX_FLOAT16_ERROR = 2.0**-10


def save_weights(module: nn.Module, folder: Path) -> StoredWeights:
    """Write a model's weights into its folder: kernels as float16 where that is enough, the rest as
    float32.
    """
    kernels = {
        f"{name}.weight"
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    }
    stored: dict[str, NDArray[np.generic]] = {}
    for name, tensor in module.state_dict().items():
        if not name.endswith(_COUNTER):
            values = to_array(tensor)
            stored[name] = to_stored_kernel(values) if name in kernels else values
    path = folder / WEIGHTS_FILE
    save_file(stored, path)
    path.chmod(0o644)  # safetensors writes 0600
    return StoredWeights(module, folder)


class StoredWeights:
    """Where in a folder's `weights.safetensors` each tensor of a module lies.

    Args:
        module: the one that was saved there, or one with tensors of the same names.
        folder: of the model.
    """

    def __init__(self, module: nn.Module, folder: Path) -> None:
        self._module = module  # kept, so that no other tensor gets an id of these
        self._names = {id(t): name for name, t in module.state_dict(keep_vars=True).items()}
        with (folder / WEIGHTS_FILE).open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(header_bytes))
        self._data_starts = 8 + header_bytes

    def refer(self, tensor: Tensor, name: str, rows: int | None = None) -> onnx.TensorProto:
        """Give the ONNX constant `name` with the data of a stored tensor.

        Args:
            tensor: a parameter or buffer of the module, itself.
            rows: take the first of them only, along the first axis.
        """
        stored = self._header[self._names[id(tensor)]]
        start, end = stored["data_offsets"]
        shape = list(stored["shape"])
        if rows is not None:
            end = start + (end - start) // shape[0] * rows
            shape[0] = rows
        constant = TensorProto(
            name=name,
            dims=shape,
            data_type=_DATA_TYPES[stored["dtype"]],
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": WEIGHTS_FILE, "offset": self._data_starts + start}
        for key, value in {**place, "length": end - start}.items():
            constant.external_data.add(key=key, value=str(value))
        return constant


def to_stored_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float16] | NDArray[np.float32]:
    """float16 where rounding costs no more than float16's own step, else the values unchanged.

    Depthwise kernels are few bytes and nothing averages over their rounding: as they are.
    """
    with np.errstate(over="ignore"):
        halved = kernel.astype(np.float16)
    largest = float(np.abs(kernel).max(initial=0.0))
    error = float(np.abs(halved.astype(np.float32) - kernel).max(initial=0.0))
    depthwise = kernel.shape[1] == 1
    return kernel if depthwise or error > _MAX_FLOAT16_ERROR * largest else halved


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """A parameter as contiguous float32 numpy."""
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
