"""A Darknet detector, or one side of its cut, as an ONNX graph with the norms folded away.

The nodes are written layer by layer from the graph that `Darknet` holds, so that the file depends
on the weights alone and not on the release of an exporter: equal weights give equal bytes.
Convolution weights are stored as float16 with a Cast behind them (half the bytes; runtimes fold the
Cast when they load), and everything is computed in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from slimnets.darknet import Darknet
from slimnets.darknet_layers import (
    LEAKY_SLOPE,
    Convolutional,
    MaxPool,
    Route,
    Shortcut,
    Upsample,
    YoloHead,
)

OPSET = 18
_IR_VERSION = 9  # the one that came with opset 18's releases; read by OpenVINO and ONNX Runtime
# float16 rounds to 2^-11 of a value; a tensor that loses more (too large, or tiny) stays float32.
_MAX_FLOAT16_ERROR = 2.0**-10


def export_stem(model: Darknet, split: int) -> onnx.ModelProto:
    """Give the graph `x` (B, 3, H, W) -> `f` (B, channels, H/stride, W/stride)."""
    point = model.split_point(split)
    nodes = _Nodes()
    outputs = nodes.add_layers(model, "x", 0, split)
    nodes.rename(outputs[split], "f")
    channels = model.sections[0].integer("channels", 3)
    return _model(
        nodes,
        "stem",
        [_value("x", ["B", channels, "H", "W"])],
        [_value("f", ["B", point.channels, "h", "w"])],
    )


def export_tail(model: Darknet, split: int) -> onnx.ModelProto:
    """Give the graph `f` -> `head_0`, `head_1`, ...: raw maps in the order of the YOLO layers."""
    point = model.split_point(split)
    nodes = _Nodes()
    outputs = nodes.add_layers(model, "f", split + 1, max(h.layer for h in model.head_specs))
    values = []
    for index, head in enumerate(model.head_specs):
        nodes.rename(outputs[head.layer], f"head_{index}")
        channels = len(head.anchors) * (5 + head.classes)
        values.append(_value(f"head_{index}", ["B", channels, f"h_{index}", f"w_{index}"]))
    return _model(nodes, "tail", [_value("f", ["B", point.channels, "h", "w"])], values)


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16] | NDArray[np.float32]:
    """Give float16 where rounding costs only float16's own step, else the values unchanged."""
    with np.errstate(over="ignore"):
        halved = values.astype(np.float16)
    largest = float(np.abs(values).max(initial=0.0))
    error = float(np.abs(halved.astype(np.float32) - values).max(initial=0.0))
    return halved if error <= _MAX_FLOAT16_ERROR * largest else values


@dataclass
class _Nodes:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def add_layers(self, model: Darknet, first_input: str, first: int, last: int) -> dict[int, str]:
        """Add layers first..last; give the name of each one's output."""
        outputs = {first - 1: first_input}
        for number in range(first, last + 1):
            sources = [outputs[source] for source in model.sources(number)]
            outputs[number] = self._add_layer(model.layers[number], sources, f"layer_{number}")
        return outputs

    def rename(self, old: str, new: str) -> None:
        """Give an output of the graph its own name."""
        self._add("Identity", [old], new)

    def _add_layer(self, layer: nn.Module, sources: Sequence[str], name: str) -> str:
        match layer:
            case Convolutional():
                return self._add_convolution(layer, sources[0], name)
            case Shortcut():
                total = sources[0]
                for index, other in enumerate(sources[1:]):
                    total = self._add("Add", [total, other], f"{name}_sum_{index}")
                return self._add_activation(layer.activation, total, name)
            case Route():
                return self._add_route(layer, sources, name)
            case Upsample():
                scales = np.array([1, 1, layer.stride, layer.stride], dtype=np.float32)
                return self._add(
                    "Resize",
                    [sources[0], "", self._constant(f"{name}_scales", scales)],
                    name,
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                )
            case MaxPool():
                return self._add(
                    "MaxPool",
                    sources,
                    name,
                    kernel_shape=[layer.size] * 2,
                    strides=[layer.stride] * 2,
                    pads=[layer.before, layer.before, layer.after, layer.after],
                )
            case YoloHead() | nn.Dropout():
                return sources[0]
        raise AssertionError(f"no ONNX form of {type(layer).__name__}")

    def _add_convolution(self, layer: Convolutional, source: str, name: str) -> str:
        weight, bias = fold_norm(layer)
        stored = to_float16(weight)
        weight_name = self._constant(f"{name}_weight", stored)
        if stored.dtype == np.float16:
            weight_name = self._add(
                "Cast", [weight_name], f"{name}_weight_32", to=TensorProto.FLOAT
            )
        conv = layer.conv
        assert not isinstance(conv.padding, str)
        y = self._add(
            "Conv",
            [source, weight_name, self._constant(f"{name}_bias", bias)],
            f"{name}_conv",
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=list(conv.padding) * 2,
            dilations=list(conv.dilation),
            group=conv.groups,
        )
        return self._add_activation(layer.activation, y, name)

    def _add_route(self, layer: Route, sources: Sequence[str], name: str) -> str:
        if layer.groups > 1:
            parts = []
            for index, source in enumerate(sources):
                names = [f"{name}_{index}_group_{group}" for group in range(layer.groups)]
                self.nodes.append(
                    helper.make_node(
                        "Split", [source], names, names[0], axis=1, num_outputs=layer.groups
                    )
                )
                parts.append(names[layer.group_id])
            sources = parts
        return sources[0] if len(sources) == 1 else self._add("Concat", sources, name, axis=1)

    def _add_activation(self, activation: nn.Module, x: str, name: str) -> str:
        match activation:
            case nn.Identity():
                return x
            case nn.LeakyReLU():
                return self._add("LeakyRelu", [x], name, alpha=LEAKY_SLOPE)
            case nn.ReLU6():
                low = self._constant(f"{name}_low", np.array(0, dtype=np.float32))
                high = self._constant(f"{name}_high", np.array(6, dtype=np.float32))
                return self._add("Clip", [x, low, high], name)
            case nn.ReLU():
                return self._add("Relu", [x], name)
            case nn.Sigmoid():
                return self._add("Sigmoid", [x], name)
            case nn.Mish():
                return self._add("Mish", [x], name)
            case nn.SiLU():
                return self._add("Mul", [x, self._add("Sigmoid", [x], f"{name}_gate")], name)
        raise AssertionError(f"no ONNX form of {type(activation).__name__}")

    def _add(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        **attributes: int | float | str | list[int],
    ) -> str:
        node = helper.make_node(op, list(inputs), [output], output)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self.nodes.append(node)
        return output

    def _constant(self, name: str, values: NDArray[np.float32] | NDArray[np.float16]) -> str:
        self.initializers.append(numpy_helper.from_array(values, name))
        return name


def fold_norm(layer: Convolutional) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give weight and bias of the one convolution that equals convolution and norm together."""
    weight = _array(layer.conv.weight)
    if layer.norm is None:
        assert layer.conv.bias is not None
        return weight.astype(np.float32), _array(layer.conv.bias).astype(np.float32)
    norm = layer.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    bias = _array(norm.bias) - _array(norm.running_mean) * scale
    return (weight * scale[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: _Nodes,
    name: str,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes.nodes, name, inputs, outputs, nodes.initializers)
    model = helper.make_model(
        graph,
        producer_name="slimwire",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model)
    return model
