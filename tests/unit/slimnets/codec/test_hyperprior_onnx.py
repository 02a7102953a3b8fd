"""Exported h_a and h_s of every level are the functions that training saw."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from slimnets.codec.hyperprior import Hyperprior
from slimnets.codec.hyperprior_integer import MAX_INPUT
from slimnets.export.hyperprior import export_h_a, export_h_s

LATENT_GROUPS, HYPER_GROUPS = (4, 6, 5), (3, 4, 2)
LEVELS = range(3)


@pytest.fixture
def hyperprior() -> Hyperprior:
    torch.manual_seed(21)
    hyperprior = Hyperprior(LATENT_GROUPS, HYPER_GROUPS)
    hyperprior.start_from(5 * torch.randn(4, 15, 8, 8))
    with torch.no_grad():
        for parameter in hyperprior.h_a.parameters():  # as an artifact's are
            parameter.copy_(parameter.half().float())
    return hyperprior


@pytest.mark.parametrize("level", LEVELS)
def test_h_a_graph_agrees_with_torch_within_rounding(hyperprior: Hyperprior, level: int) -> None:
    v = 5 * torch.randn(2, hyperprior.latent_prefix[level], 16, 8)

    z = _run(export_h_a(hyperprior, level), v=v)

    torch.testing.assert_close(z, hyperprior.analyse(v, level).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_h_s_graph_agrees_with_torch_bit_for_bit(hyperprior: Hyperprior, level: int) -> None:
    z_hat = (60 * torch.randn(2, hyperprior.hyper_prefix[level], 5, 7)).round()
    assert z_hat.abs().max() > MAX_INPUT

    index = _run(export_h_s(hyperprior, level), z_hat=z_hat)

    assert index.shape == (2, hyperprior.latent_prefix[level], 20, 28)
    assert torch.equal(index, hyperprior.scale_index(z_hat, level))
    assert len(np.unique(index.numpy())) > 20


def test_h_s_graph_holds_integers_of_eight_bits_in_float32(hyperprior: Hyperprior) -> None:
    graph = export_h_s(hyperprior, 2).graph

    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    weights = [array for name, array in arrays.items() if name.endswith("_weight")]

    assert len(weights) == 3
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert all((weight == np.rint(weight)).all() for weight in weights)
    assert all(np.abs(weight).max() <= 127 for weight in weights)


def _run(model: onnx.ModelProto, **inputs: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (output,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(output)
