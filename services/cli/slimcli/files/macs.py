"""Multiply-accumulates of an exported graph, counted from its operations and their real shapes.

Convolutions (plain, grouped, transposed) and matrix products count; what works element by element
(activations, additions, the division of a GDN) does not, as is usual in the literature.
"""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any


def count_macs(path: Path, input_shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of one run of the graph.

    Args:
        path: an ONNX file.
        input_shapes: the shape of every input, all sides known.
    """
    from slimcodec.graph.runtime import load_openvino

    model = load_openvino().Core().read_model(path)
    model.reshape({name: list(shape) for name, shape in input_shapes.items()})
    return sum(map(_macs_of, model.get_ordered_ops()))


def _macs_of(operation: Any) -> int:
    """Of one operation; 0 of one that does not count."""
    inputs = [[int(side) for side in port.get_shape()] for port in operation.inputs()]
    match operation.get_type_name():
        case "Convolution":  # weights (O, I, kh, kw): an output element takes I kh kw products
            return prod(_output_shape(operation)) * prod(inputs[1][1:])
        case "GroupConvolution":  # (G, O/G, I/G, kh, kw)
            return prod(_output_shape(operation)) * prod(inputs[1][2:])
        case "ConvolutionBackpropData":  # (I, O, kh, kw): an input element goes into O kh kw
            return prod(inputs[0]) * prod(inputs[1][1:])
        case "GroupConvolutionBackpropData":  # (G, I/G, O/G, kh, kw)
            return prod(inputs[0]) * prod(inputs[1][2:])
        case "MatMul":  # (..., n, k) times (..., k, m): an output element takes k products
            shared = inputs[0][-2 if operation.get_attributes()["transpose_a"] else -1]
            return prod(_output_shape(operation)) * shared
    return 0


def _output_shape(operation: Any) -> list[int]:
    return [int(side) for side in operation.output(0).get_shape()]
