"""The layers that know levels, as nodes for one level: rows of the stored groups, put together with
zeros above the block diagonal.

    group 0  -pad-> rows 0 ... -+
    group 1  -pad-> next rows  -+-Concat-> the weight of the level that reads both

Every level's graph names the same stored groups. Runtimes put them together once, when they load;
what then runs is one dense layer: faster when wide, and equal to the groups within float rounding.
"""

from collections.abc import Sequence

import numpy as np
from torch import nn

from slimnets.codec.slimmable import GDN_BETA_FLOOR, CausalConv2d, CausalGDN
from slimnets.export.onnx_file import GraphWriter


def level_convolution(
    graph: GraphWriter, layer: nn.Module, level: int, source: str, name: str
) -> str:
    """Add a convolution of g_a or h_a as it is at a level."""
    assert isinstance(layer, CausalConv2d)
    (_, conv), *_ = layer.filled(level)
    size, stride = conv.kernel_size[0], conv.stride[0]
    weight_and_bias = causal_weights(graph, layer, level, name)
    return graph.convolution(source, weight_and_bias, name, size, stride, size // 2)


def causal_weights(
    graph: GraphWriter, layer: CausalConv2d, level: int, name: str, exact: bool = False
) -> list[str]:
    """Add weight and bias of a block lower-triangular convolution at a level.

    Args:
        exact: never round the weight to float16; stored weights are taken as they are anyway.
    """
    kernels, biases, shapes = [], [], []
    for k, conv in layer.filled(level):
        hold = graph.parameter if exact else graph.kernel
        kernels.append(hold(conv.weight, f"{name}_weight_{k}"))
        biases.append(graph.parameter(conv.get_parameter("bias"), f"{name}_bias_{k}"))
        shapes.append(conv.weight.shape)
    weight = _rows(graph, kernels, shapes, layer.in_prefix[level], f"{name}_weight")
    return [weight, _concat(graph, biases, f"{name}_bias")]


def level_norm(graph: GraphWriter, layer: nn.Module, level: int, source: str, name: str) -> str:
    """Add a divisive normalisation of g_a as it is at a level."""
    assert isinstance(layer, CausalGDN)
    floor = graph.scalar(f"{name}_floor", GDN_BETA_FLOOR)
    gammas, betas, shapes = [], [], []
    for k in range(level + 1):
        if layer.beta[k].numel() == 0:
            continue  # the level adds nothing here
        root = layer.gamma[k]
        gammas.append(squared(graph, root, f"{name}_gamma_{k}"))
        shapes.append(root.shape)
        beta = squared(graph, layer.beta[k], f"{name}_beta_{k}")
        betas.append(graph.add("Add", [beta, floor], f"{name}_beta_{k}_above"))
    gamma = _rows(graph, gammas, shapes, layer.prefix[level], f"{name}_gamma")
    norm = norm_of(graph, source, gamma, _concat(graph, betas, f"{name}_beta"), name)
    return graph.add("Div", [source, norm], name)


def norm_of(graph: GraphWriter, source: str, gamma: str, beta: str, name: str) -> str:
    """Add beta_i + sum_j gamma_ij |x_j|; gamma is (C, C)."""
    shape = graph.constant(f"{name}_gamma_shape", np.array([0, 0, 1, 1], np.int64))  # 0: as it is
    kernel = graph.add("Reshape", [gamma, shape], f"{name}_gamma_kernel")
    magnitude = graph.add("Abs", [source], f"{name}_abs")
    return graph.convolution(magnitude, [kernel, beta], f"{name}_norm", 1)


def squared(graph: GraphWriter, root: nn.Parameter, name: str) -> str:
    """Add the square of a parameter."""
    value = graph.parameter(root, f"{name}_root")
    return graph.add("Mul", [value, value], name)


def _rows(
    graph: GraphWriter,
    groups: Sequence[str],
    shapes: Sequence[Sequence[int]],
    total: int,
    name: str,
) -> str:
    """One weight of `total` inputs; where a group reads fewer, zeros stand for the rest."""
    parts = []
    for part, (rows, width, *sides) in zip(groups, shapes, strict=True):
        if width < total:
            shape = np.array([rows, total - width, *sides], np.int64)
            of_zeros = [
                graph.scalar(f"{part}_zero", 0.0),
                graph.constant(f"{part}_rest_shape", shape),
            ]
            rest = graph.add("Expand", of_zeros, f"{part}_rest")
            part = graph.add("Concat", [part, rest], f"{part}_row", axis=1)
        parts.append(part)
    return _concat(graph, parts, name)


def _concat(graph: GraphWriter, parts: Sequence[str], name: str) -> str:
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, name, axis=0)
