"""The hyperprior as ONNX graphs: h_a and h_s of each level, groups merged."""

from __future__ import annotations

import numpy as np
import onnx

from slimnets.codec.causal import CausalConv2d
from slimnets.codec.hyperprior import LEAK, NUM_SCALES, Hyperprior
from slimnets.codec.hyperprior_integer import MAX_ACTIVATION, MAX_INPUT, IntegerCausalConv2d
from slimnets.export.onnx_nodes import GraphWriter, float_value, to_array


def export_h_a(hyperprior: Hyperprior, level: int) -> onnx.ModelProto:
    """Graph `v` (B, M_level, h, w) gained latents, h and w multiples of 4 -> `z` (B, Mz_level, h/4,
    w/4), not yet rounded.
    """
    graph = GraphWriter()
    out = graph.add("Abs", ["v"], "magnitude")
    for i, layer in enumerate(hyperprior.h_a):
        assert isinstance(layer, CausalConv2d)
        if i:
            out = graph.add("LeakyRelu", [out], f"h_a_{i}_leaky", alpha=LEAK)
        conv = layer.merge(level)
        assert conv.bias is not None
        assert not isinstance(conv.padding, str)
        weight, bias = to_array(conv.weight), to_array(conv.bias)
        out = graph.convolution(out, weight, bias, f"h_a_{i}", conv.stride[0], conv.padding[0])
    graph.add("Identity", [out], "z")
    v = float_value("v", ["B", hyperprior.latent_prefix[level], "h", "w"])
    z = float_value("z", ["B", hyperprior.hyper_prefix[level], "h_z", "w_z"])
    return graph.model(f"h_a_{level}", [v], [z])


def export_h_s(hyperprior: Hyperprior, level: int) -> onnx.ModelProto:
    """Graph `z_hat` (B, Mz_level, h/4, w/4) integers -> `scale_index` (B, M_level, h, w) integers
    from 0 to 63. It must run in float32 (TF32 will do, bf16 will not): its sums are integers of up
    to 23 bits.

    Raises:
        InexactError: some input could lead to sums that float32 does not hold.
    """
    graph = GraphWriter()
    zero, top = _scalar(graph, "zero", 0.0), _scalar(graph, "max_activation", MAX_ACTIVATION)
    ends = _scalar(graph, "min_input", -MAX_INPUT), _scalar(graph, "max_input", MAX_INPUT)
    out = graph.add("Clip", ["z_hat", *ends], "held_input")
    last = len(hyperprior.h_s) - 1
    for i, layer in enumerate(hyperprior.h_s):
        assert isinstance(layer, IntegerCausalConv2d)
        out = _rounded_sums(graph, layer, level, out, f"h_s_{i}")
        if i < last:
            out = graph.add("Clip", [out, zero, top], f"h_s_{i}_held")
            out = graph.add("DepthToSpace", [out], f"h_s_{i}_wide", blocksize=2, mode="CRD")
    graph.add("Clip", [out, zero, _scalar(graph, "max_index", NUM_SCALES - 1)], "scale_index")
    z_hat = float_value("z_hat", ["B", hyperprior.hyper_prefix[level], "h_z", "w_z"])
    index = float_value("scale_index", ["B", hyperprior.latent_prefix[level], "h", "w"])
    return graph.model(f"h_s_{level}", [z_hat], [index])


def _rounded_sums(
    graph: GraphWriter, layer: IntegerCausalConv2d, level: int, source: str, name: str
) -> str:
    conv = layer.merge(level)
    assert conv.bias is not None
    weight = graph.constant(f"{name}_weight", to_array(conv.weight))  # never float16
    bias = graph.constant(f"{name}_bias", to_array(conv.bias + layer.rounding))
    side, pad = conv.kernel_size[0], conv.kernel_size[0] // 2
    attributes = {"kernel_shape": [side] * 2, "pads": [pad] * 4}
    sums = graph.add("Conv", [source, weight, bias], name, **attributes)
    step = _scalar(graph, f"{name}_step", 2.0**-layer.shift)
    return graph.add("Floor", [graph.add("Mul", [sums, step], f"{name}_scaled")], f"{name}_rounded")


def _scalar(graph: GraphWriter, name: str, value: float) -> str:
    return graph.constant(name, np.array(value, np.float32))
