"""Counts of `count_macs` against counts by hand, and against hooks on the shipped codec."""

from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from bench.macs import count_macs
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact

ROOT = Path(__file__).parents[4]


def save(path: Path, result: openvino.Node, *inputs: openvino.Node) -> Path:
    openvino.save_model(openvino.Model([result], list(inputs)), path, compress_to_fp16=False)
    return path


def picture(channels: int) -> openvino.Node:
    return ops.parameter([-1, channels, -1, -1], np.float32, name="x")


def weights(*shape: int) -> openvino.Node:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return ops.constant(values)


def test_a_strided_convolution_counts_its_output_pixels(tmp_path: Path) -> None:
    x = picture(3)
    y = ops.convolution(x, weights(8, 3, 5, 5), [2, 2], [2, 2], [2, 2], [1, 1])

    macs = count_macs(save(tmp_path / "a.xml", y, x), {"x": (1, 3, 32, 64)})

    assert macs == 16 * 32 * 8 * 3 * 25


def test_a_grouped_convolution_counts_only_its_own_group(tmp_path: Path) -> None:
    x = picture(8)
    y = ops.group_convolution(x, weights(4, 2, 2, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])

    macs = count_macs(save(tmp_path / "a.xml", y, x), {"x": (2, 8, 16, 16)})

    assert macs == 2 * 16 * 16 * 8 * 2 * 9


def test_a_transposed_convolution_counts_its_input_pixels(tmp_path: Path) -> None:
    x = picture(6)
    y = ops.convolution_backprop_data(
        x, weights(6, 4, 4, 4), [2, 2], pads_begin=[1, 1], pads_end=[1, 1]
    )

    macs = count_macs(save(tmp_path / "a.xml", y, x), {"x": (1, 6, 8, 8)})

    assert macs == 8 * 8 * 6 * 4 * 16


@pytest.mark.parametrize("transpose", [False, True])
def test_a_matrix_product_counts_the_shared_side(tmp_path: Path, transpose: bool) -> None:
    x = ops.parameter([-1, 5] if not transpose else [5, -1], np.float32, name="x")
    y = ops.matmul(x, weights(5, 7), transpose, False)
    shape = (5, 3) if transpose else (3, 5)

    macs = count_macs(save(tmp_path / "a.xml", y, x), {"x": shape})

    assert macs == 3 * 5 * 7


def test_work_by_element_does_not_count(tmp_path: Path) -> None:
    x = picture(3)
    y = ops.relu(ops.add(x, weights(1, 3, 1, 1)))

    assert count_macs(save(tmp_path / "a.xml", y, x), {"x": (1, 3, 8, 8)}) == 0


def test_the_shipped_manifest_says_what_the_graphs_count() -> None:
    codec, side = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models")), 256

    counted = [
        count_macs(codec.analysis_path(level.level), {"x": (1, 3, side, side)}) / side**2 / 1000
        for level in codec.levels
    ]

    # the exporter wrote what hooks counted on dense torch modules
    assert counted == pytest.approx([level.kmac_per_pixel for level in codec.levels], rel=1e-6)
    assert counted[0] <= 1.0
    assert counted[-1] <= 21.0
