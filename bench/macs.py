"""Multiply-accumulates per pixel of a picture, counted on the graphs of a codec and its detector.

    PYTHONPATH=tests python -m bench.macs [MODEL]

Convolutions (plain, grouped, transposed) and matrix products count; what works element by element
(activations, additions, the division of a GDN) does not, as is usual in the literature.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from slimcli.models import open_codec, open_detector
from slimcodec.graph.openvino_runtime import load_openvino
from slimcodec.model.find import DEFAULT_MODEL

SIDE = 256  # pixels of the picture: a multiple of every padding, so that no border adds


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    codec = open_codec(parser.parse_args().model, None)
    detector = open_detector(codec, None)
    print("| part | kMAC per pixel |")
    print("|---|---|")
    for level in codec.levels:
        print(f"| edge, level {level.level}, as the manifest says | {level.kmac_per_pixel:.2f} |")
    side, split = SIDE // codec.manifest.latent_stride, detector.manifest.split
    latent: dict[str, tuple[int, ...]] = {
        "y_hat": (1, codec.levels[-1].latent_channels, side, side),
        "level": (1, len(codec.levels)),
    }
    features = (1, split.channels, SIDE // split.stride, SIDE // split.stride)
    parts: dict[str, tuple[Path, Mapping[str, Sequence[int]]]] = {
        "cloud, to detect: feature transform": (codec.file("feature_transform.onnx"), latent),
        "cloud, to detect: rest of the detector": (detector.file("tail.onnx"), {"f": features}),
        "cloud, to look: g_s": (codec.file("g_s.onnx"), latent),
        "not needed: stem of the detector": (detector.file("stem.onnx"), {"x": (1, 3, SIDE, SIDE)}),
    }
    for part, (path, shapes) in parts.items():
        print(f"| {part} | {count_macs(path, shapes) / SIDE**2 / 1000:.2f} |")


def count_macs(path: Path, input_shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of one run of an ONNX file's graph, from its real shapes.

    Args:
        input_shapes: the shape of every input, all sides known.
    """
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


if __name__ == "__main__":
    main()
