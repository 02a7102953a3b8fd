"""Channel-causal layers: prefixes are exact, gradients stay in their level."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F

from slimnets.codec.config import CodecConfig
from slimnets.codec.slimmable import CausalConv2d, CausalGDN, scale_gradient
from slimnets.codec.transform import AnalysisTransform

LEVELS = range(4)


@pytest.fixture
def g_a() -> AnalysisTransform:
    torch.manual_seed(7)
    return AnalysisTransform(CodecConfig()).eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("level", LEVELS)
def test_latent_of_a_level_is_bit_identical_to_the_prefix_of_the_wider_one(
    g_a: AnalysisTransform, x: torch.Tensor, level: int
) -> None:
    widest = g_a(x, 3)

    narrow = g_a(x, level)

    assert narrow.shape == (3, (32, 64, 128, 192)[level], 4, 6)
    assert torch.equal(narrow, widest[:, : narrow.shape[1]])


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_of_a_narrow_loss_never_touch_wide_only_parameters(
    g_a: AnalysisTransform, x: torch.Tensor, level: int
) -> None:
    g_a(x, level).square().sum().backward()

    for name, parameter in g_a.named_parameters():
        group = int(name.split(".")[3])
        assert (parameter.grad is not None) == (group <= level), name


def test_wide_loss_reaches_the_base_only_as_far_as_it_is_let(
    g_a: AnalysisTransform, x: torch.Tensor
) -> None:
    base = [p for name, p in g_a.named_parameters() if name.split(".")[3] == "0"]

    def base_gradient(share: float) -> float:
        g_a.zero_grad()
        g_a(x, 3, lower_gradient=share)[:, 32:].square().sum().backward()
        return float(sum(p.grad.abs().sum() for p in base if p.grad is not None))

    assert base_gradient(0.0) == 0.0
    assert 0.0 < base_gradient(0.1) < base_gradient(1.0)
    assert g_a.get_parameter("convs.3.groups.3.weight").grad is not None


def test_full_width_equals_a_plain_masked_convolution_with_other_inputs_than_outputs() -> None:
    torch.manual_seed(1)
    layer = CausalConv2d((2, 3, 1), (4, 1, 6), kernel_size=3, stride=2)
    x = torch.randn(2, 6, 9, 7)
    weight, bias, mask = torch.zeros(11, 6, 3, 3), torch.zeros(11), torch.zeros(11, 6, 1, 1)
    for k, (start, end, reads) in enumerate([(0, 4, 2), (4, 5, 5), (5, 11, 6)]):
        weight[start:end, :reads] = layer.get_parameter(f"groups.{k}.weight").detach()
        bias[start:end] = layer.get_parameter(f"groups.{k}.bias").detach()
        mask[start:end, :reads] = 1
    noise = torch.randn_like(weight) * (1 - mask)  # what the mask must hide

    plain = F.conv2d(x, (weight + noise) * mask, bias, stride=2, padding=1)

    torch.testing.assert_close(layer(x, 2), plain, rtol=1e-5, atol=1e-5)


def test_gdn_divides_by_what_its_own_and_narrower_groups_hold() -> None:
    torch.manual_seed(2)
    layer = CausalGDN((2, 3))
    x = torch.randn(1, 5, 4, 4)
    changed = x.clone()
    changed[:, 2:] += 1.0

    assert torch.equal(layer(x, 1)[:, :2], layer(changed, 1)[:, :2])
    assert not torch.equal(layer(x, 1)[:, 2:], layer(changed, 1)[:, 2:])
    gamma = torch.zeros(5, 5)
    gamma[:2, :2], gamma[2:] = layer.gamma[0].detach().square(), layer.gamma[1].detach().square()
    norm = 1.001 + torch.einsum("ij,bjhw->bihw", gamma, x.abs())
    torch.testing.assert_close(layer(x, 1), x / norm, rtol=1e-5, atol=1e-6)


def test_width_is_safe_from_many_threads(g_a: AnalysisTransform, x: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = [g_a(x, level) for level in LEVELS]
        jobs = [level for _ in range(6) for level in LEVELS]
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda level: _infer(g_a, x, level), jobs))

    assert all(torch.equal(y, expected[level]) for y, level in zip(got, jobs, strict=True))


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_scaled_gradient_changes_no_value(scale: float) -> None:
    x = torch.tensor([1.5, -2.0], requires_grad=True)

    y = scale_gradient(x, scale)

    assert torch.equal(y, x)
    if scale:
        y.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.testing.assert_close(x.grad, torch.full((2,), scale))
    else:
        assert not y.requires_grad


def _infer(g_a: AnalysisTransform, x: torch.Tensor, level: int) -> torch.Tensor:
    with torch.inference_mode():
        y: torch.Tensor = g_a(x, level)
        return y
