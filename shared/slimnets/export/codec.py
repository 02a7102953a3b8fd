"""The codec as ONNX graphs: g_a for each level, g_s and the feature transform.

Without stored weights a graph holds its own.
"""

import numpy as np
import onnx
from torch import nn

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import LATENT_STRIDE
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.codec.transform import BlockSynthesis, InverseGDN, LevelInput, ResidualBlock
from slimnets.export.darknet import add_layers
from slimnets.export.levels import level_convolution, level_norm, norm_of, squared
from slimnets.export.onnx_file import GraphWriter, StoredWeights, float_value, weights_of


def export_g_a(
    codec: CodecNet, level: int, weights: StoredWeights | None = None
) -> onnx.ModelProto:
    """Graph `x` (1, 3, H, W) RGB in [0, 1] -> `y` (1, M_level, H/16, W/16), before the gain."""
    graph, g_a, out = GraphWriter(weights), codec.g_a, "x"
    M = codec.config.latent_channels[level]
    for i, layer in enumerate(g_a.convs):
        out = level_convolution(graph, layer, level, out, f"g_a_{2 * i}")
        if i < len(g_a.gdns):
            out = level_norm(graph, g_a.gdns[i], level, out, f"g_a_{2 * i + 1}")
    if g_a.block is None:
        graph.add("Identity", [out], "y")
    else:
        of_block = weights_of(graph, g_a.block.conv, "g_a_block", M)
        block = graph.convolution("x", of_block, "g_a_block", LATENT_STRIDE, LATENT_STRIDE)
        graph.add("Add", [out, block], "y")
    return graph.model(
        f"g_a_{level}",
        [float_value("x", ["B", 3, "H", "W"])],
        [float_value("y", ["B", M, "h", "w"])],
    )


def export_g_s(
    codec: CodecNet, weights: StoredWeights | None = None, by_place: bool = False
) -> onnx.ModelProto:
    """Graph `y_hat` (B, M, h, w) zero beyond the level, `level` (B, K) one-hot -> `x_hat` (B, 3,
    16h, 16w); by place, `level` is (B, K, h, w).
    """
    graph = GraphWriter(weights)
    out = _sequence(graph, codec.g_s.body, _first(graph, codec.g_s.first, by_place), "g_s")
    half = graph.scalar("half", 0.5)
    if codec.g_s.block is None:
        graph.add("Add", [out, half], "x_hat")
    else:
        block = _layer(graph, codec.g_s.block, "y_hat", "g_s_block")
        graph.add("Add", [graph.add("Add", [out, half], "g_s_body"), block], "x_hat")
    return _decoder(codec, graph, "g_s", "x_hat", 3, by_place)


def export_feature_transform(
    codec: CodecNet, weights: StoredWeights | None = None, by_place: bool = False
) -> onnx.ModelProto:
    """Graph `y_hat` (B, M, h, w), `level` as of g_s -> `f_hat` (B, C, 2h, 2w)."""
    graph = GraphWriter(weights)
    transform, name = codec.feature_transform, "feature_transform"
    out = _sequence(graph, transform.body, _first(graph, transform.first, by_place), name)
    if isinstance(transform, StemFeatureTransform):
        correction = _block_pixels(graph, transform.correction, out, "correction")
        block = _block_pixels(graph, transform.block, "y_hat", "block", mean=0.5)
        pixels = graph.add("Add", [block, correction], "pixels")
        x_m = _to_picture(graph, pixels, "x_m")
        out = add_layers(graph, transform.stem, x_m, 0, transform.last_layer)[transform.last_layer]
    graph.add("Identity", [out], "f_hat")
    return _decoder(codec, graph, name, "f_hat", codec.config.feature_channels, by_place)


def _decoder(
    codec: CodecNet, graph: GraphWriter, name: str, output: str, channels: int, by_place: bool
) -> onnx.ModelProto:
    y_hat = float_value("y_hat", ["B", codec.config.latent_channels[-1], "h", "w"])
    level = float_value("level", ["B", codec.config.num_levels, *(["h", "w"] if by_place else [])])
    return graph.model(
        name, [y_hat, level], [float_value(output, ["B", channels, "h_out", "w_out"])]
    )


def _first(graph: GraphWriter, layer: LevelInput, by_place: bool) -> str:
    conv = _convolution(graph, layer.conv, "y_hat", "first")
    by_level = graph.parameter(layer.level_bias.weight, "level_bias")  # (out, K)
    if by_place:
        kernel = _reshape(graph, by_level, [*layer.level_bias.weight.shape, 1, 1], "level_kernel")
        plane = graph.convolution("level", [kernel], "level_plane", 1)
        return graph.add("Add", [conv, plane], "first_sum")
    weight = graph.add("Transpose", [by_level], "level_bias_turned", perm=[1, 0])
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
        case InverseGDN():
            gamma = squared(graph, layer.root_gamma, f"{name}_gamma")
            beta = squared(graph, layer.root_beta, f"{name}_beta")
            return graph.add("Mul", [source, norm_of(graph, source, gamma, beta, name)], name)
        case nn.ConvTranspose2d():
            return _transposed_convolution(graph, layer, source, name)
        case BlockSynthesis():
            return _to_picture(graph, _block_pixels(graph, layer, source, f"{name}_pixels"), name)
        case ResidualBlock():
            return graph.add(
                "Add", [source, _sequence(graph, layer.body, source, name)], f"{name}_sum"
            )
        case nn.Sequential():
            return _sequence(graph, layer, source, name)
    raise AssertionError(f"no ONNX form of {type(layer).__name__}")


def _block_pixels(
    graph: GraphWriter, layer: BlockSynthesis, source: str, name: str, mean: float = 0.0
) -> str:
    """All pixels of a block, and `mean` added, from a convolution of 1 x 1: in OpenVINO five times
    as fast as the transposed convolution of 16 x 16 that it equals.
    """
    M, colours = layer.conv.weight.shape[:2]
    pixels = colours * LATENT_STRIDE**2
    stored, stored_bias = weights_of(graph, layer.conv, name)  # (M, 3, 16, 16) and (3,)
    rows = _reshape(graph, stored, [M, pixels], f"{name}_rows")
    columns = graph.add("Transpose", [rows], f"{name}_columns", perm=[1, 0])
    weight = _reshape(graph, columns, [pixels, M, 1, 1], f"{name}_kernel")
    bias = _reshape(graph, stored_bias, [colours, 1], f"{name}_bias_column")
    size = graph.constant(f"{name}_bias_size", np.array([colours, LATENT_STRIDE**2], np.int64))
    spread = graph.add("Expand", [bias, size], f"{name}_bias_spread")
    row = _reshape(graph, spread, [pixels], f"{name}_bias_row")
    if mean:
        row = graph.add("Add", [row, graph.scalar(f"{name}_mean", mean)], f"{name}_bias_and_mean")
    return graph.convolution(source, [weight, row], name, 1)


def _to_picture(graph: GraphWriter, pixels: str, name: str) -> str:
    return graph.add("DepthToSpace", [pixels], name, blocksize=LATENT_STRIDE, mode="CRD")


def _reshape(graph: GraphWriter, source: str, shape: list[int], name: str) -> str:
    target = graph.constant(f"{name}_shape", np.array(shape, np.int64))
    return graph.add("Reshape", [source, target], name)


def _convolution(graph: GraphWriter, conv: nn.Conv2d, source: str, name: str) -> str:
    size, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    assert isinstance(padding, int)
    return graph.convolution(source, weights_of(graph, conv, name), name, size, stride, padding)


def _transposed_convolution(
    graph: GraphWriter, conv: nn.ConvTranspose2d, source: str, name: str
) -> str:
    padding = conv.padding[0]
    assert isinstance(padding, int)
    return graph.add(
        "ConvTranspose",
        [source, *weights_of(graph, conv, name)],
        name,
        kernel_shape=[conv.kernel_size[0]] * 2,
        strides=[conv.stride[0]] * 2,
        pads=[padding] * 4,
        output_padding=[conv.output_padding[0]] * 2,
    )
