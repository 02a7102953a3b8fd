"""The triage head: its shape, its odds, its cost, and its exported graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimnets.count import count_macs
from slimnets.triage import TriageHead, export_triage


def _head(latent_channels: int = 8, classes: int = 5) -> TriageHead:
    torch.manual_seed(1)
    head = TriageHead(latent_channels, classes, widths=(6, 10, 12))
    head.start_from([3 * torch.randn(2, latent_channels, 6, 8) for _ in range(2)])
    for norm in head.norms:
        assert isinstance(norm, torch.nn.BatchNorm2d)
        torch.nn.init.uniform_(norm.running_mean, -1, 1)  # type: ignore[arg-type]  # it has one
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    torch.nn.init.normal_(head.last.weight)
    return head.eval()


@pytest.mark.parametrize("hw", [(2, 2), (6, 8), (5, 7)])
def test_head_gives_one_logit_a_class_and_one_a_cell(hw: tuple[int, int]) -> None:
    head = _head()
    y_hat = torch.randn(3, 8, *hw)

    assert head(y_hat).shape == (3, 5)
    assert head.cells(y_hat).shape == (3, 5, -(-hw[0] // 2), -(-hw[1] // 2))


def test_odds_of_the_cells_add_up() -> None:
    head = _head()
    y_hat = torch.randn(2, 8, 6, 8)

    odds = head.cells(y_hat).exp().sum((2, 3))

    torch.testing.assert_close(head(y_hat).exp(), odds)


def test_one_small_object_is_not_averaged_away() -> None:
    """The same sure cell counts the same in a picture of any size."""
    head = _head()
    with torch.no_grad():
        head.last.weight.zero_()
        head.last.weight[0, 0] = 50.0
        head.last.bias.fill_(-20.0)  # type: ignore[union-attr]  # it has one
    small, large = torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 32, 32)
    torch.manual_seed(3)
    thing = 9 * torch.randn(8, 2, 2)
    small[0, :, 3:5, 3:5] = large[0, :, 15:17, 15:17] = thing

    assert head(large)[0, 0] >= head(small)[0, 0] - 1e-3


def test_deviations_are_those_of_the_latents() -> None:
    head = TriageHead(2, 3)
    channel = torch.tensor([2.0, 5.0]).view(1, 2, 1, 1)

    head.start_from([torch.ones(1, 2, 4, 4) * channel, -torch.ones(1, 2, 2, 6) * channel])

    torch.testing.assert_close(head.deviation, torch.tensor([2.0, 5.0]))


def test_exported_graph_gives_what_torch_gives(tmp_path: Path) -> None:
    head = _head()
    path = tmp_path / "triage.onnx"
    path.write_bytes(export_triage(head).SerializeToString())
    graph = OpenVinoRuntime(num_threads=1, precision="f32").load(path)

    for shape in ((1, 8, 6, 8), (2, 8, 5, 7)):
        y_hat = 3 * torch.randn(shape)
        with torch.no_grad():
            expected = head(y_hat)
        found = torch.from_numpy(graph(y_hat=y_hat.numpy())["logits"])
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)  # float16 weights


def test_default_head_costs_a_third_of_a_kilomac_a_pixel_at_most() -> None:
    macs = count_macs(TriageHead(32, 80), torch.zeros(1, 32, 32, 32))

    assert macs / (512 * 512) <= 300
