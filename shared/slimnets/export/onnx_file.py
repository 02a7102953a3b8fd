"""Files of a model's networks: its weights, stored once, and the ONNX graphs that name them.

    module -save_weights-> weights.safetensors <-reference, by offset- g_a_0.onnx, g_s.onnx, ...

An ONNX file may keep a tensor's data in another file, at an offset ("external data"); a safetensors
file is a header and the bare data, so both formats fit the same bytes. Runtimes map the file and
read what a graph names; a graph may also hold its weights itself. Those stored as float16 or int8
are widened by nodes that runtimes run once, when they load; everything is computed in float32.

Graphs are written node by node, so that a file depends on the weights alone and not on an
exporter's release.

Source: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md and
https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch import Tensor, nn

OPSET = 18
_IR_VERSION = 9  # came with opset 18's releases; read by OpenVINO and ONNX Runtime
_INT8_MAX = 127

WEIGHTS_FILE = "weights.safetensors"

_COUNTER = "num_batches_tracked"  # only training with a cumulative average needs it
_DATA_TYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
# float16 rounds to 2^-11 of a value; a tensor that loses more (too large, or all tiny) stays
# float32.
_MAX_FLOAT16_ERROR = 2.0**-10


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


def save_weights(module: nn.Module, folder: Path) -> StoredWeights:
    """Write a model's weights: kernels as float16 where that is enough, the rest as float32."""
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


class GraphWriter:
    """Nodes and constants of one graph; every method gives the name of what it added.

    Args:
        weights: where parameters lie; None: the graph holds them itself.
        int8: then with kernels as int8 and a scale for each output channel, not as float16.
    """

    def __init__(self, weights: StoredWeights | None = None, int8: bool = False) -> None:
        self._weights, self._int8 = weights, int8
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        *outputs: str,
        **attributes: int | float | str | list[int],
    ) -> str:
        """Add a node; the name of its first output."""
        node = helper.make_node(op, list(inputs), list(outputs), outputs[0])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self._nodes.append(node)
        return outputs[0]

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant as it stands."""
        self._initializers.append(numpy_helper.from_array(values, name))
        return name

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 scalar."""
        return self.constant(name, np.array(value, np.float32))

    def parameter(self, tensor: Tensor, name: str, rows: int | None = None) -> str:
        """Add a parameter, in float32.

        Args:
            tensor: the parameter itself, not a copy; without stored weights any tensor.
            name: of the constant.
            rows: take the first of them only, along the first axis.
        """
        if self._weights is not None:
            return self._widen(self._weights.refer(tensor, name, rows))
        return self.constant(name, to_array(tensor[:rows]))

    def kernel(self, tensor: Tensor, name: str, rows: int | None = None) -> str:
        """Add the weight of a convolution as `parameter`; a graph itself holds it smaller."""
        if self._weights is not None:
            return self.parameter(tensor, name, rows)
        values = to_array(tensor[:rows])
        if not self._int8:
            return self._widen(numpy_helper.from_array(to_stored_kernel(values), name))
        integers, scale = to_int8(values)
        wide = self._widen(numpy_helper.from_array(integers, name))
        return self.add("Mul", [wide, self.constant(f"{name}_scale", scale)], f"{name}_scaled")

    def _widen(self, constant: onnx.TensorProto) -> str:
        """Add a constant, in float32."""
        self._initializers.append(constant)
        if constant.data_type == TensorProto.FLOAT:
            return str(constant.name)
        return self.add("Cast", [constant.name], f"{constant.name}_32", to=TensorProto.FLOAT)

    def convolution(
        self,
        source: str,
        weight_and_bias: Sequence[str],
        name: str,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        dilation: int = 1,
    ) -> str:
        """Add a convolution with square kernel."""
        return self.add(
            "Conv",
            [source, *weight_and_bias],
            name,
            kernel_shape=[kernel_size] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            dilations=[dilation] * 2,
            group=groups,
        )

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._initializers)
        return helper.make_model(
            graph,
            producer_name="slimwire",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )


def weights_of(
    graph: GraphWriter, conv: nn.Conv2d | nn.ConvTranspose2d, name: str, rows: int | None = None
) -> list[str]:
    """Add weight and bias of a convolution, or the first rows of both."""
    return [
        graph.kernel(conv.weight, f"{name}_weight", rows),
        graph.parameter(conv.get_parameter("bias"), f"{name}_bias", rows),
    ]


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, and check it with the weights that it names."""
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)


def float_value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """Declare a float32 input or output; strings are free sizes."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def to_int8(kernel: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A kernel (C_out, ...) as integers of -127 to 127, and each row's scale (C_out, 1, ...)."""
    axes = tuple(range(1, kernel.ndim))
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / np.float32(_INT8_MAX)
    scale[scale == 0] = 1.0
    return np.rint(kernel / scale).astype(np.int8), scale
