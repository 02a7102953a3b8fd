"""Weights stand once in a model's folder; graphs name them, and say when they are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.external_data_helper import uses_external_data
from safetensors.numpy import load_file

from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.export.codec import export_g_a
from slimnets.export.onnx_file import WEIGHTS_FILE, StoredWeights, save_graph, save_weights

CONFIG = CodecConfig(
    channels=((4, 6, 8, 8), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    block_transform=True,
)
LEVELS = range(2)


@pytest.fixture
def codec() -> CodecNet:
    torch.manual_seed(5)
    codec = CodecNet(CONFIG).eval()
    codec.start_from(torch.rand(8, 3, 64, 64))
    return codec


@pytest.fixture
def folder(codec: CodecNet, tmp_path: Path) -> Path:
    """A folder with g_a of both levels."""
    weights = save_weights(codec, tmp_path)
    for level in LEVELS:
        save_graph(export_g_a(codec, level, weights), tmp_path / f"g_a_{level}.onnx")
    return tmp_path


@pytest.mark.parametrize("level", LEVELS)
def test_graphs_of_all_levels_run_on_the_same_stored_weights(
    codec: CodecNet, folder: Path, level: int
) -> None:
    x = torch.rand(1, 3, 64, 96)

    y = OpenVinoRuntime(precision="f32").load(folder / f"g_a_{level}.onnx")(x=x.numpy())["y"]

    expected = codec.analyse(x, level).detach().numpy()
    np.testing.assert_allclose(y, expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())


def test_no_graph_holds_a_kernel_of_its_own(folder: Path) -> None:
    stored = (folder / WEIGHTS_FILE).stat().st_size
    for level in LEVELS:
        model = onnx.load(folder / f"g_a_{level}.onnx", load_external_data=False)
        own = [c for c in model.graph.initializer if not uses_external_data(c)]

        assert sum(len(constant.raw_data) for constant in own) < 400
        for constant in model.graph.initializer:
            place = {entry.key: entry.value for entry in constant.external_data}
            if place:
                assert place["location"] == WEIGHTS_FILE
                assert int(place["offset"]) + int(place["length"]) <= stored


def test_kernels_are_stored_as_float16_and_small_things_as_float32(folder: Path) -> None:
    stored = load_file(folder / WEIGHTS_FILE)

    assert stored["g_a.convs.0.groups.0.weight"].dtype == np.float16
    assert stored["g_a.convs.0.groups.0.bias"].dtype == np.float32
    assert stored["g_a.gdns.0.gamma.1"].dtype == np.float32


def test_a_graph_without_its_weights_is_refused(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()

    with pytest.raises(
        ModelError, match=r"(?s)g_a_0\.onnx: cannot be loaded .*weights\.safetensors"
    ):
        OpenVinoRuntime(precision="f32").load(folder / "g_a_0.onnx")


def test_the_first_rows_are_named_without_the_rest(codec: CodecNet, folder: Path) -> None:
    weights = StoredWeights(codec, folder)
    assert codec.g_a.block is not None

    whole = weights.refer(codec.g_a.block.conv.weight, "whole")
    part = weights.refer(codec.g_a.block.conv.weight, "part", rows=8)

    places = [{e.key: e.value for e in c.external_data} for c in (whole, part)]
    assert list(part.dims) == [8, *whole.dims[1:]]
    assert places[0]["offset"] == places[1]["offset"]
    assert int(places[0]["length"]) == 2 * int(places[1]["length"])
