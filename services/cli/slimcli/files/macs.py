"""Multiply-accumulates of an exported graph, counted from its operations and their real shapes.

Convolutions (plain, grouped, transposed) and matrix products count; what works element by element
(activations, additions, the division of a GDN) does not, as is usual in the literature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Shape = Sequence[int]


def count_macs(path: Path, input_shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulates of one run of the graph.

    Args:
        path: an ONNX file.
        input_shapes: the shape of every input, all sides known.
    """
    from slimcodec.graph.runtime import load_openvino

    model = load_openvino().Core().read_model(path)
    model.reshape({name: list(shape) for name, shape in input_shapes.items()})
    return sum(
        _COUNTERS[operation.get_type_name()](operation)
        for operation in model.get_ordered_ops()
        if operation.get_type_name() in _COUNTERS
    )


def _convolution(operation: Any) -> int:
    """Weights (O, I, kh, kw): each output element takes I kh kw products."""
    weights = _input_shape(operation, 1)
    return math.prod(_output_shape(operation)) * math.prod(weights[1:])


def _group_convolution(operation: Any) -> int:
    """Weights (G, O/G, I/G, kh, kw)."""
    weights = _input_shape(operation, 1)
    return math.prod(_output_shape(operation)) * math.prod(weights[2:])


def _transposed_convolution(operation: Any) -> int:
    """Weights (I, O, kh, kw): each input element goes into O kh kw products."""
    weights = _input_shape(operation, 1)
    return math.prod(_input_shape(operation, 0)) * math.prod(weights[1:])


def _group_transposed_convolution(operation: Any) -> int:
    """Weights (G, I/G, O/G, kh, kw)."""
    weights = _input_shape(operation, 1)
    return math.prod(_input_shape(operation, 0)) * math.prod(weights[2:])


def _matrix_product(operation: Any) -> int:
    """(..., n, k) times (..., k, m): each output element takes k products."""
    left = _input_shape(operation, 0)
    shared = left[-2] if operation.get_attributes()["transpose_a"] else left[-1]
    return math.prod(_output_shape(operation)) * shared


def _input_shape(operation: Any, index: int) -> list[int]:
    return [int(side) for side in operation.input(index).get_shape()]


def _output_shape(operation: Any) -> list[int]:
    return [int(side) for side in operation.output(0).get_shape()]


_COUNTERS: Mapping[str, Callable[[Any], int]] = {
    "Convolution": _convolution,
    "GroupConvolution": _group_convolution,
    "ConvolutionBackpropData": _transposed_convolution,
    "GroupConvolutionBackpropData": _group_transposed_convolution,
    "MatMul": _matrix_product,
}
