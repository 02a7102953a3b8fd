"""Writing ONNX graphs node by node, so that a file depends on the weights alone and not on an
exporter's release.

Convolution weights are stored as float16 with a Cast behind them where that costs no more than
float16's own step (half the bytes; runtimes fold the Cast when they load); everything is computed
in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 18
_IR_VERSION = 9  # the one that came with opset 18's releases; read by OpenVINO and ONNX Runtime
# float16 rounds to 2^-11 of a value; a tensor that loses more (too large, or all tiny) stays
# float32.
_MAX_FLOAT16_ERROR = 2.0**-10


class GraphWriter:
    """Nodes and constants of one graph; every method gives the name of what it added."""

    def __init__(self) -> None:
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

    def convolution(
        self,
        source: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        name: str,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        dilation: int = 1,
    ) -> str:
        """Add a convolution with square kernel, its weight stored as float16 where that is
        enough.
        """
        # Depthwise weights are few bytes and nothing averages over their rounding: as they are.
        if groups == 1:
            weight_name = self._weight(weight, name)
        else:
            weight_name = self.constant(f"{name}_weight", weight)
        return self.add(
            "Conv",
            [source, weight_name, self.constant(f"{name}_bias", bias)],
            name,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride] * 2,
            pads=[padding] * 4,
            dilations=[dilation] * 2,
            group=groups,
        )

    def transposed_convolution(
        self,
        source: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        name: str,
        stride: int,
        padding: int,
        output_padding: int,
    ) -> str:
        """Add a transposed convolution; its weight is (C_in, C_out, k, k), as torch's is."""
        return self.add(
            "ConvTranspose",
            [source, self._weight(weight, name), self.constant(f"{name}_bias", bias)],
            name,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride] * 2,
            pads=[padding] * 4,
            output_padding=[output_padding] * 2,
        )

    def _weight(self, weight: NDArray[np.float32], name: str) -> str:
        stored = to_float16(weight)
        given = self.constant(f"{name}_weight", stored)
        if stored.dtype != np.float16:
            return given
        return self.add("Cast", [given], f"{name}_weight_32", to=TensorProto.FLOAT)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._initializers)
        model = helper.make_model(
            graph,
            producer_name="slimwire",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model)
        return model


def float_value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """Declare a float32 input or output; strings are free sizes."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """A parameter as float32 numpy."""
    values: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return values


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16] | NDArray[np.float32]:
    """float16 where rounding costs no more than float16's own step, else the values unchanged."""
    with np.errstate(over="ignore"):
        halved = values.astype(np.float16)
    largest = float(np.abs(values).max(initial=0.0))
    error = float(np.abs(halved.astype(np.float32) - values).max(initial=0.0))
    return halved if error <= _MAX_FLOAT16_ERROR * largest else values
