"""Where a detector can be cut at the feature transform's stride: what the halves weigh and take.

    python -m studies.detector.splits --detector yolo-fastest-street

A codec stores a tail of its own, with kernels of 8 bits, and a transform that ends in the stem's
layers: both halves run in the cloud. Processor time of one thread, OpenVINO, the least of all
turns, 640 x 480 pixels. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.errors import SplitError
from slimnets.export.darknet import export_stem, export_tail
from slimnets.export.onnx_file import save_graph
from slimtrain.detector.artifact import SPLIT_STRIDE
from studies.detector.evaluate import read_detector

IMAGE_HW = (480, 640)  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", required=True, metavar="F.cfg,F.weights|MODEL")
    parser.add_argument("--turns", type=int, default=15)
    options = parser.parse_args()
    model = read_detector(options.detector)
    points = split_points(model)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(model, points, Path(folder), options.turns)
        print("| layer | kind | channels | tail, kB | stem, ms | tail, ms | both |")  # noqa: T201
        print("|---" * 7 + "|")  # noqa: T201
        for point, (stem, tail) in zip(points, 1e3 * seconds, strict=True):
            kind = model.sections[point.layer + 1].kind
            size = Path(folder, f"tail_{point.layer}.onnx").stat().st_size
            print(  # noqa: T201  # a study's own output
                f"| {point.layer} | {kind} | {point.channels} | {size / 1e3:.0f} "
                f"| {stem:.1f} | {tail:.1f} | {stem + tail:.1f} |"
            )


def split_points(model: Darknet) -> list[SplitPoint]:
    """All cuts at the feature transform's stride, first to last."""
    points = []
    for layer in range(len(model.layers) - 1):
        try:
            point = model.split_point(layer)
        except SplitError:
            continue
        if point.stride == SPLIT_STRIDE:
            points.append(point)
    return points


def measure(
    model: Darknet, points: list[SplitPoint], folder: Path, turns: int
) -> NDArray[np.float64]:
    """Write the halves of each cut and run them in turns: (cuts, 2) seconds of stem and tail."""
    runtime = OpenVinoRuntime(num_threads=1)
    h, w = IMAGE_HW
    rng = np.random.default_rng(0)
    x = rng.random((1, 3, h, w), dtype=np.float32)
    runs = []
    for point in points:
        stem, tail = (folder / f"{half}_{point.layer}.onnx" for half in ("stem", "tail"))
        save_graph(export_stem(model, point.layer), stem)
        save_graph(export_tail(model, point.layer, int8=True), tail)
        f = runtime.load(stem)(x=x)["f"]
        runs += [(runtime.load(stem), {"x": x}), (runtime.load(tail), {"f": f})]
    taken = np.empty((turns, len(runs)))
    for turn in taken:
        for number, (graph, inputs) in enumerate(runs):
            started = time.process_time()
            graph(**inputs)
            turn[number] = time.process_time() - started
    least: NDArray[np.float64] = taken.min(axis=0)
    return least.reshape(-1, 2)


if __name__ == "__main__":
    main()
