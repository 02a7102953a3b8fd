"""A Darknet detector's stem and tail as ONNX graphs; runtimes fold the norms when they load.

```
stem: x -layers 0..split-> f        tail: f -layers split+1..-> head_0, head_1, ...
```
Without stored weights a graph holds its own.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from torch import nn

from slimnets.darknet.detector import Darknet, LayerGraph
from slimnets.darknet.layers import (
    LEAKY_SLOPE,
    Convolutional,
    MaxPool,
    Route,
    Shortcut,
)
from slimnets.export.onnx_file import GraphWriter, StoredWeights, float_value


def export_stem(
    model: Darknet, split: int, weights: StoredWeights | None = None
) -> onnx.ModelProto:
    """Give the graph `x` (B, 3, H, W) -> `f` (B, channels, H/stride, W/stride)."""
    point = model.split_point(split)
    writer = GraphWriter(weights)
    outputs = add_layers(writer, model, "x", 0, split)
    writer.add("Identity", [outputs[split]], "f")
    channels = model.sections[0].integer("channels", 3)
    return writer.model(
        "stem",
        [float_value("x", ["B", channels, "H", "W"])],
        [float_value("f", ["B", point.channels, "h", "w"])],
    )


def export_tail(
    model: Darknet, split: int, weights: StoredWeights | None = None, int8: bool = False
) -> onnx.ModelProto:
    """Give the graph `f` -> `head_0`, `head_1`, ...: raw maps in the order of the YOLO layers.

    Args:
        int8: store kernels so if the graph holds its own; half of float16's bytes.
    """
    point = model.split_point(split)
    writer = GraphWriter(weights, int8)
    outputs = add_layers(writer, model, "f", split + 1, max(model.head_layers))
    heads = []
    for index, head in enumerate(model.head_specs):
        writer.add("Identity", [outputs[head.layer]], f"head_{index}")
        channels = len(head.anchors) * (5 + head.classes)
        heads.append(float_value(f"head_{index}", ["B", channels, f"h_{index}", f"w_{index}"]))
    return writer.model("tail", [float_value("f", ["B", point.channels, "h", "w"])], heads)


def add_layers(
    writer: GraphWriter, model: LayerGraph, first_input: str, first: int, last: int
) -> dict[int, str]:
    """Add layers first..last; give the name of each one's output."""
    outputs = {first - 1: first_input}
    for number in range(first, last + 1):
        sources = [outputs[source] for source in model.sources[number]]
        outputs[number] = _add_layer(writer, model.layers[number], sources, f"layer_{number}")
    return outputs


def _add_layer(writer: GraphWriter, layer: nn.Module, sources: Sequence[str], name: str) -> str:
    match layer:
        case Convolutional():
            return _add_convolution(writer, layer, sources[0], name)
        case Shortcut():
            total = sources[0]
            for index, other in enumerate(sources[1:]):
                total = writer.add("Add", [total, other], f"{name}_sum_{index}")
            return _add_activation(writer, layer.activation, total, name)
        case Route():
            return _add_route(writer, layer, sources, name)
        case nn.Upsample():
            scales = np.array([1, 1, layer.scale_factor, layer.scale_factor], dtype=np.float32)
            return writer.add(
                "Resize",
                [sources[0], "", writer.constant(f"{name}_scales", scales)],
                name,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        case MaxPool():
            return writer.add(
                "MaxPool",
                sources,
                name,
                kernel_shape=[layer.size] * 2,
                strides=[layer.stride] * 2,
                pads=[layer.before, layer.before, layer.after, layer.after],
            )
        case nn.Identity() | nn.Dropout():
            return sources[0]
    raise AssertionError(f"no ONNX form of {type(layer).__name__}")


def _add_convolution(writer: GraphWriter, layer: Convolutional, source: str, name: str) -> str:
    conv, norm = layer.conv, layer.norm
    weight_and_bias = [writer.kernel(conv.weight, f"{name}_conv_weight")]
    if conv.bias is not None:
        weight_and_bias.append(writer.parameter(conv.bias, f"{name}_conv_bias"))
    assert isinstance(conv.padding[0], int)
    y = writer.convolution(
        source,
        weight_and_bias,
        f"{name}_conv",
        conv.kernel_size[0],
        stride=conv.stride[0],
        padding=conv.padding[0],
        groups=conv.groups,
        dilation=conv.dilation[0],
    )
    if norm is not None:
        y = _add_norm(writer, norm, y, f"{name}_norm")
    return _add_activation(writer, layer.activation, y, name)


def _add_norm(writer: GraphWriter, norm: nn.BatchNorm2d, source: str, name: str) -> str:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = {
        "weight": norm.weight,
        "bias": norm.bias,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }
    names = [writer.parameter(tensor, f"{name}_{key}") for key, tensor in statistics.items()]
    return writer.add("BatchNormalization", [source, *names], name, epsilon=norm.eps)


def _add_route(writer: GraphWriter, layer: Route, sources: Sequence[str], name: str) -> str:
    if layer.groups > 1:
        parts = []
        for index, source in enumerate(sources):
            names = [f"{name}_{index}_group_{group}" for group in range(layer.groups)]
            writer.add("Split", [source], *names, axis=1, num_outputs=layer.groups)
            parts.append(names[layer.group_id])
        sources = parts
    return sources[0] if len(sources) == 1 else writer.add("Concat", sources, name, axis=1)


def _add_activation(writer: GraphWriter, activation: nn.Module, x: str, name: str) -> str:
    match activation:
        case nn.Identity():
            return x
        case nn.LeakyReLU():
            return writer.add("LeakyRelu", [x], name, alpha=LEAKY_SLOPE)
        case nn.ReLU6():
            low = writer.constant(f"{name}_low", np.array(0, dtype=np.float32))
            high = writer.constant(f"{name}_high", np.array(6, dtype=np.float32))
            return writer.add("Clip", [x, low, high], name)
        case nn.ReLU():
            return writer.add("Relu", [x], name)
        case nn.Sigmoid():
            return writer.add("Sigmoid", [x], name)
        case nn.Mish():
            return writer.add("Mish", [x], name)
        case nn.SiLU():
            return writer.add("Mul", [x, writer.add("Sigmoid", [x], f"{name}_gate")], name)
    raise AssertionError(f"no ONNX form of {type(activation).__name__}")
