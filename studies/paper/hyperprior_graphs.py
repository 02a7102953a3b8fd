"""A hyperprior as ONNX graphs, h_a and h_s for each level. Without stored weights a graph holds its
own.
"""

from __future__ import annotations

import onnx

from slimnets.export.levels import causal_weights, level_convolution
from slimnets.export.onnx_file import GraphWriter, StoredWeights, float_value
from studies.paper.hyperprior import (
    LEAK,
    MAX_ACTIVATION,
    MAX_INPUT,
    MAX_WEIGHT,
    NUM_SCALES,
    WEIGHT_BITS,
    Hyperprior,
    IntegerCausalConv2d,
)


def export_h_a(
    hyperprior: Hyperprior, level: int, weights: StoredWeights | None = None
) -> onnx.ModelProto:
    """Graph `v` (B, M_level, h, w), h and w 4 n -> `z` (B, Mz_level, h/4, w/4), not rounded."""
    graph = GraphWriter(weights)
    out = graph.add("Abs", ["v"], "magnitude")
    for i, layer in enumerate(hyperprior.h_a):
        if i:
            out = graph.add("LeakyRelu", [out], f"h_a_{i}_leaky", alpha=LEAK)
        out = level_convolution(graph, layer, level, out, f"h_a_{i}")
    graph.add("Identity", [out], "z")
    v = float_value("v", ["B", hyperprior.latent_prefix[level], "h", "w"])
    z = float_value("z", ["B", hyperprior.hyper_prefix[level], "h_z", "w_z"])
    return graph.model(f"h_a_{level}", [v], [z])


def export_h_s(
    hyperprior: Hyperprior, level: int, weights: StoredWeights | None = None
) -> onnx.ModelProto:
    """Graph `z_hat` (B, Mz_level, h/4, w/4) integers -> `scale_index` (B, M_level, h, w) integers
    from 0 to 63. It must run in float32 (TF32 will do, bf16 will not): its sums are integers of up
    to 23 bits.

    Raises:
        InexactError: some input could lead to sums that float32 does not hold.
    """
    graph = GraphWriter(weights)
    zero, top = graph.scalar("zero", 0.0), graph.scalar("max_activation", MAX_ACTIVATION)
    ends = graph.scalar("min_input", -MAX_INPUT), graph.scalar("max_input", MAX_INPUT)
    out = graph.add("Clip", ["z_hat", *ends], "held_input")
    last = len(hyperprior.h_s) - 1
    for i, layer in enumerate(hyperprior.h_s):
        assert isinstance(layer, IntegerCausalConv2d)
        out = _rounded_sums(graph, layer, level, out, f"h_s_{i}")
        if i < last:
            out = graph.add("Clip", [out, zero, top], f"h_s_{i}_held")
            out = graph.add("DepthToSpace", [out], f"h_s_{i}_wide", blocksize=2, mode="CRD")
    graph.add("Clip", [out, zero, graph.scalar("max_index", NUM_SCALES - 1)], "scale_index")
    z_hat = float_value("z_hat", ["B", hyperprior.hyper_prefix[level], "h_z", "w_z"])
    index = float_value("scale_index", ["B", hyperprior.latent_prefix[level], "h", "w"])
    return graph.model(f"h_s_{level}", [z_hat], [index])


def _rounded_sums(
    graph: GraphWriter, layer: IntegerCausalConv2d, level: int, source: str, name: str
) -> str:
    layer.check_sums(level)
    stored_weight, stored_bias = causal_weights(graph, layer, level, name, exact=True)
    scale = graph.scalar(f"{name}_weight_unit", 2.0**WEIGHT_BITS)
    scaled = graph.add("Mul", [stored_weight, scale], f"{name}_weight_in_units")
    ends = [
        graph.scalar(f"{name}_weight_{end}", value)
        for end, value in (("min", -MAX_WEIGHT), ("max", MAX_WEIGHT))
    ]
    weight = graph.add(
        "Round", [graph.add("Clip", [scaled, *ends], f"{name}_weight_held")], f"{name}_integers"
    )
    unit = graph.scalar(f"{name}_bias_unit", 2.0 ** (layer.input_bits + WEIGHT_BITS))
    whole = graph.add(
        "Round",
        [graph.add("Mul", [stored_bias, unit], f"{name}_bias_in_units")],
        f"{name}_bias_integers",
    )
    bias = graph.add(
        "Add", [whole, graph.scalar(f"{name}_rounding", layer.rounding)], f"{name}_bias_rounding"
    )
    size = layer.filled(level)[0][1].kernel_size[0]
    sums = graph.convolution(source, [weight, bias], name, size, padding=size // 2)
    step = graph.scalar(f"{name}_step", 2.0**-layer.shift)
    return graph.add("Floor", [graph.add("Mul", [sums, step], f"{name}_scaled")], f"{name}_rounded")
