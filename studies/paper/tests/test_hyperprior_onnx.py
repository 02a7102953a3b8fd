"""Exported h_a and h_s of every level are the functions that training saw."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from slimnets.export.onnx_file import float_value
from studies.paper.hyperprior import MAX_INPUT, Hyperprior
from studies.paper.hyperprior_graphs import export_h_a, export_h_s

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


def test_h_s_graph_computes_with_integers_of_eight_bits_in_float32(hyperprior: Hyperprior) -> None:
    model = export_h_s(hyperprior, 2)
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    model.graph.output.extend(float_value(name, ["o", "i", 3, 3]) for name in names)
    z_hat = torch.zeros(1, hyperprior.hyper_prefix[2], 4, 4)

    _, *weights = _run_all(model, z_hat=z_hat)

    assert len(weights) == 3
    assert all(weight.dtype == np.float32 for weight in weights)
    assert all((weight == np.rint(weight)).all() for weight in weights)
    assert all(1 < np.abs(weight).max() <= 127 for weight in weights)


def _run(model: onnx.ModelProto, **inputs: torch.Tensor) -> torch.Tensor:
    (output,) = _run_all(model, **inputs)
    return torch.from_numpy(output)


def _run_all(model: onnx.ModelProto, **inputs: torch.Tensor) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    outputs: list[NDArray[np.float32]] = session.run(
        None, {name: value.numpy() for name, value in inputs.items()}
    )
    return outputs
