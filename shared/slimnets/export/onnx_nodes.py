"""Writing ONNX graphs node by node, so that a file depends on the weights alone and not on an
exporter's release.

A graph's weights lie in `weights.safetensors` beside it, or in the graph itself. Those stored as
float16 or int8 are widened by nodes that runtimes run once, when they load; everything is computed
in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from slimnets.export.stored_weights import StoredWeights, to_array, to_stored_kernel

OPSET = 18
_IR_VERSION = 9  # came with opset 18's releases; read by OpenVINO and ONNX Runtime
_INT8_MAX = 127


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
        output: str,
        **attributes: int | float | str | list[int],
    ) -> str:
        """Add a node with one output."""
        return self.add_many(op, inputs, [output], **attributes)[0]

    def add_many(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: int | float | str | list[int],
    ) -> list[str]:
        """Add a node with several outputs."""
        node = helper.make_node(op, list(inputs), list(outputs), outputs[0])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self._nodes.append(node)
        return list(outputs)

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
    """A kernel (C_out, ...) as integers from -127 to 127 and a scale (C_out, 1, ...) for each
    output channel.
    """
    axes = tuple(range(1, kernel.ndim))
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / np.float32(_INT8_MAX)
    scale[scale == 0] = 1.0
    return np.rint(kernel / scale).astype(np.int8), scale
