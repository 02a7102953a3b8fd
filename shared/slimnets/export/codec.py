"""The codec's transforms as ONNX graphs: g_a for each level (groups merged), g_s and the feature
transform.
"""

from __future__ import annotations

import numpy as np
import onnx
from torch import Tensor, nn

from slimnets.codec.block import BlockSynthesis
from slimnets.codec.causal import DenseGDN
from slimnets.codec.codec import Codec
from slimnets.codec.config import LATENT_STRIDE
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.codec.transform import InverseGDN, LevelInput, ResidualBlock
from slimnets.export.darknet import add_layers
from slimnets.export.onnx_nodes import GraphWriter, float_value, to_array


def export_g_a(codec: Codec, level: int) -> onnx.ModelProto:
    """Graph `x` (1, 3, H, W) RGB in [0, 1] -> `y` (1, M_level, H/16, W/16), before the gain."""
    graph = GraphWriter()
    g_a = codec.g_a.merge(level)
    out = _sequence(graph, g_a.body, "x", "g_a")
    if g_a.block is None:
        graph.add("Identity", [out], "y")
    else:
        graph.add("Add", [out, _convolution(graph, g_a.block, "x", "g_a_block")], "y")
    M = codec.config.latent_channels[level]
    return graph.model(
        f"g_a_{level}",
        [float_value("x", ["B", 3, "H", "W"])],
        [float_value("y", ["B", M, "h", "w"])],
    )


def export_g_s(codec: Codec) -> onnx.ModelProto:
    """Graph `y_hat` (B, M, h, w) zero beyond the level, `level` (B, K) one-hot -> `x_hat` (B, 3,
    16h, 16w).
    """
    graph = GraphWriter()
    out = _sequence(graph, codec.g_s.body, _first(graph, codec.g_s.first), "g_s")
    half = graph.constant("half", to_array(codec.log_gain.new_tensor(0.5)))
    if codec.g_s.block is None:
        graph.add("Add", [out, half], "x_hat")
    else:
        block = _layer(graph, codec.g_s.block, "y_hat", "g_s_block")
        graph.add("Add", [graph.add("Add", [out, half], "g_s_body"), block], "x_hat")
    return _decoder(codec, graph, "g_s", "x_hat", 3)


def export_feature_transform(codec: Codec) -> onnx.ModelProto:
    """Graph `y_hat` (B, M, h, w), `level` (B, K) -> `f_hat` (B, C, 2h, 2w)."""
    graph = GraphWriter()
    transform = codec.feature_transform
    out = _sequence(graph, transform.body, _first(graph, transform.first), "feature_transform")
    if isinstance(transform, StemFeatureTransform):
        correction = _layer(graph, transform.correction, out, "correction")
        block = _layer(graph, transform.block, "y_hat", "block")
        half = graph.constant("half", to_array(codec.log_gain.new_tensor(0.5)))
        x_m = graph.add("Add", [graph.add("Add", [block, correction], "picture"), half], "x_m")
        out = add_layers(graph, transform.stem, x_m, 0, transform.last_layer)[transform.last_layer]
    graph.add("Identity", [out], "f_hat")
    return _decoder(codec, graph, "feature_transform", "f_hat", codec.config.feature_channels)


def _decoder(
    codec: Codec, graph: GraphWriter, name: str, output: str, channels: int
) -> onnx.ModelProto:
    y_hat = float_value("y_hat", ["B", codec.config.latent_channels[-1], "h", "w"])
    level = float_value("level", ["B", codec.config.num_levels])
    return graph.model(
        name, [y_hat, level], [float_value(output, ["B", channels, "h_out", "w_out"])]
    )


def _first(graph: GraphWriter, layer: LevelInput) -> str:
    conv = _convolution(graph, layer.conv, "y_hat", "first")
    weight = graph.constant("level_bias", to_array(layer.level_bias.weight).T.copy())
    bias = graph.add("MatMul", ["level", weight], "level_bias_of")
    axes = graph.constant("spatial_axes", np.array([2, 3], np.int64))
    return graph.add(
        "Add", [conv, graph.add("Unsqueeze", [bias, axes], "level_bias_map")], "first_sum"
    )


def _sequence(graph: GraphWriter, layers: nn.Sequential, source: str, name: str) -> str:
    for i, layer in enumerate(layers):
        source = _layer(graph, layer, source, f"{name}_{i}")
    return source


def _layer(graph: GraphWriter, layer: nn.Module, source: str, name: str) -> str:
    match layer:
        case nn.Conv2d():
            return _convolution(graph, layer, source, name)
        case nn.LeakyReLU():
            return graph.add("LeakyRelu", [source], name, alpha=layer.negative_slope)
        case nn.PixelShuffle():
            return graph.add(
                "DepthToSpace", [source], name, blocksize=layer.upscale_factor, mode="CRD"
            )
        case DenseGDN():
            magnitude = graph.add("Abs", [source], f"{name}_abs")
            norm = _norm(graph, magnitude, layer.gamma, layer.beta, name)
            return graph.add("Div", [source, norm], name)
        case InverseGDN():
            magnitude = graph.add("Abs", [source], f"{name}_abs")
            weight, offset = layer.parameters_of_norm()
            norm = _norm(graph, magnitude, weight, offset, name)
            return graph.add("Mul", [source, norm], name)
        case nn.ConvTranspose2d():
            assert layer.bias is not None
            assert not isinstance(layer.padding, str)
            return graph.transposed_convolution(
                source,
                to_array(layer.weight),
                to_array(layer.bias),
                name,
                stride=layer.stride[0],
                padding=int(layer.padding[0]),
                output_padding=layer.output_padding[0],
            )
        case BlockSynthesis():
            return _block_synthesis(graph, layer, source, name)
        case ResidualBlock():
            return graph.add(
                "Add", [source, _sequence(graph, layer.body, source, name)], f"{name}_sum"
            )
        case nn.Sequential():
            return _sequence(graph, layer, source, name)
    raise AssertionError(f"no ONNX form of {type(layer).__name__}")


def _block_synthesis(graph: GraphWriter, layer: BlockSynthesis, source: str, name: str) -> str:
    """All pixels of a block from a convolution of 1 x 1: in OpenVINO five times as fast as the
    transposed convolution of 16 x 16 that it equals.
    """
    assert layer.conv.bias is not None
    weight = to_array(layer.conv.weight)  # (M, 3, 16, 16)
    by_pixel = weight.reshape(len(weight), -1).T[:, :, None, None].copy()
    bias = np.repeat(to_array(layer.conv.bias), LATENT_STRIDE**2)
    pixels = graph.convolution(source, by_pixel, bias, f"{name}_pixels")
    return graph.add("DepthToSpace", [pixels], name, blocksize=LATENT_STRIDE, mode="CRD")


def _norm(graph: GraphWriter, x: str, gamma: Tensor, beta: Tensor, name: str) -> str:
    """gamma stays float32: a quotient shows its rounding, and it is small."""
    constants = [graph.constant(f"{name}_gamma", to_array(gamma))]
    constants.append(graph.constant(f"{name}_beta", to_array(beta)))
    return graph.add("Conv", [x, *constants], f"{name}_norm", kernel_shape=[1, 1])


def _convolution(graph: GraphWriter, conv: nn.Conv2d, source: str, name: str) -> str:
    assert conv.bias is not None
    assert not isinstance(conv.padding, str)
    weight, bias = to_array(conv.weight), to_array(conv.bias)
    return graph.convolution(source, weight, bias, name, conv.stride[0], conv.padding[0])
