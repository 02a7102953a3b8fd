"""Norms folded into convolutions, and a detector made of an exported tail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slimnets.darknet.fold import fold_norms, load_tail
from slimnets.darknet.layers import Convolutional
from slimnets.errors import NetError
from slimnets.export.darknet import export_tail
from slimnets.export.onnx_file import save_graph
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet, make_pictures


def norms_of(layers: torch.nn.ModuleList) -> int:
    return sum(isinstance(layer, Convolutional) and layer.norm is not None for layer in layers)


def test_a_folded_detector_computes_the_same_and_the_original_keeps_its_norms() -> None:
    model = make_darknet()
    x = make_pictures()

    folded = fold_norms(model)

    assert norms_of(folded.layers) == 0
    assert norms_of(model.layers) > 0
    for ours, theirs in zip(folded(x), model(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_layers_before_the_first_keep_their_norms() -> None:
    model = make_darknet()

    folded = fold_norms(model, ALL_LAYERS_SPLIT + 1)

    split = ALL_LAYERS_SPLIT + 1
    assert norms_of(folded.layers[:split]) == norms_of(model.layers[:split]) > 0
    assert norms_of(folded.layers[split:]) == 0


@pytest.mark.parametrize("int8", [False, True])
def test_an_exported_tail_comes_back_within_its_own_precision(tmp_path: Path, int8: bool) -> None:
    model = fold_norms(make_darknet(seed=1))
    path = tmp_path / "tail.onnx"
    save_graph(export_tail(model, ALL_LAYERS_SPLIT, int8=int8), path)
    f = model.stem(make_pictures(), ALL_LAYERS_SPLIT)

    loaded = load_tail(make_darknet(seed=2), ALL_LAYERS_SPLIT, path)

    for ours, theirs in zip(
        loaded.tail(f, ALL_LAYERS_SPLIT), model.tail(f, ALL_LAYERS_SPLIT), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=(4e-2 if int8 else 1e-2))


def test_a_tail_cut_elsewhere_is_refused_by_name(tmp_path: Path) -> None:
    model = make_darknet()
    path = tmp_path / "tail.onnx"
    save_graph(export_tail(fold_norms(model), ALL_LAYERS_SPLIT), path)

    with pytest.raises(NetError, match=r"is not the tail .* layers\.5\.conv\.bias"):
        load_tail(model, 4, path)
