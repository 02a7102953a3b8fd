"""The scale hyperprior in training: rates, gradients, starting point, prefixes."""

from __future__ import annotations

import math
import warnings
from itertools import accumulate
from statistics import NormalDist

import pytest
import torch
from torch import Tensor, nn

from slimnets.codec.prior import straight_through
from studies.paper.hyperprior import (
    MAX_ACTIVATION,
    MAX_INPUT,
    SCALES,
    Hyperprior,
    InexactError,
    IntegerCausalConv2d,
    IntegerConv2d,
    gaussian_likelihoods,
    largest_sum,
    scale_of,
)

LATENT_GROUPS, HYPER_GROUPS = (4, 6, 5), (3, 4, 2)
ENDS = tuple(accumulate(LATENT_GROUPS))
WIDEST = 2
ONE = torch.ones(())  # a gain, which changes nothing of these bits


@pytest.fixture
def hyperprior() -> Hyperprior:
    torch.manual_seed(11)
    return Hyperprior(LATENT_GROUPS, HYPER_GROUPS)


@pytest.fixture
def v() -> Tensor:
    """(3, 15, 8, 12), deviations from 0.2 to 20."""
    noise = torch.randn(3, 15, 8, 12, generator=torch.Generator().manual_seed(1))
    return noise * torch.logspace(math.log10(0.2), math.log10(20), 15)[:, None, None]


def test_likelihoods_of_bins_are_those_of_the_normal_distribution() -> None:
    values = [0.1 * i for i in range(-300, 301)]
    expected = [
        [NormalDist(0, s).cdf(0.5 - abs(v)) - NormalDist(0, s).cdf(-0.5 - abs(v)) for v in values]
        for s in SCALES
    ]
    v = torch.tensor(values).expand(len(SCALES), -1)

    got = gaussian_likelihoods(v, torch.tensor(SCALES)[:, None].expand_as(v))

    wanted = torch.tensor(expected).clamp_min(1e-9)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-9)


def test_scales_are_log_spaced_and_the_indexes_count_them() -> None:
    torch.testing.assert_close(scale_of(torch.arange(64.0)), torch.tensor(SCALES))
    ratios = [b / a for a, b in zip(SCALES, SCALES[1:], strict=False)]
    assert max(ratios) - min(ratios) < 1e-12


def test_every_parameter_learns_from_the_bits(hyperprior: Hyperprior, v: Tensor) -> None:
    hyperprior.start_from(v)
    v.requires_grad_()

    bits = hyperprior.bits(v, ONE, ENDS)
    bits.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    assert bits.shape == (3, 3)
    for name, parameter in [("v", v), *hyperprior.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("level", [0, 1])
def test_narrow_level_is_the_prefix_of_the_wider_one(
    hyperprior: Hyperprior, v: Tensor, level: int
) -> None:
    hyperprior.start_from(v)
    wide_z_hat, wide_index = hyperprior(v, WIDEST)

    z_hat, index = hyperprior(v[:, : hyperprior.latent_prefix[level]], level)

    assert z_hat.shape == (3, sum(HYPER_GROUPS[: level + 1]), 2, 3)
    assert index.shape == (3, sum(LATENT_GROUPS[: level + 1]), 8, 12)
    assert torch.equal(z_hat, wide_z_hat[:, : z_hat.shape[1]])
    assert torch.equal(index, wide_index[:, : index.shape[1]])


def test_wider_groups_can_be_kept_out_of_the_base(hyperprior: Hyperprior, v: Tensor) -> None:
    base = [p for n, p in hyperprior.named_parameters() if n.startswith("h_") and ".groups.0." in n]

    hyperprior.bits(v, ONE, ENDS, lower_gradient=0.0)[:, 1:].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    assert len(base) == 12
    assert all(p.grad is None or not p.grad.any() for p in base)


def test_bits_are_float32_under_autocast_and_near_those_without(
    hyperprior: Hyperprior, v: Tensor
) -> None:
    torch.manual_seed(0)
    plain = hyperprior.bits(v, ONE, ENDS)

    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        cast = hyperprior.bits(v, ONE, ENDS)

    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_start_gives_each_channel_its_measured_scale(hyperprior: Hyperprior, v: Tensor) -> None:
    with torch.no_grad():
        before = hyperprior.bits(v, ONE, ENDS).sum()
        hyperprior.start_from(v)
        after = hyperprior.bits(v, ONE, ENDS).sum()
        z = hyperprior.analyse(v, WIDEST)
        index = hyperprior.scale_index(z.round(), WIDEST)

    measured = v.square().mean((0, 2, 3)).sqrt()
    assert after < 0.9 * before
    assert z.std() == pytest.approx(2.0, rel=0.1)
    ratio = scale_of(index.mean((0, 2, 3))) / measured
    assert ((ratio > 0.85) & (ratio < 1.18)).all()


def test_bits_at_the_start_are_those_of_a_gaussian_per_channel(
    hyperprior: Hyperprior, v: Tensor
) -> None:
    with torch.no_grad():
        hyperprior.start_from(v)
        got = hyperprior.bits(v, ONE, ENDS).sum()
        z = hyperprior.analyse(v, WIDEST)
        of_z = -torch.log2(hyperprior.prior.likelihoods(z, torch.ones(3, 9))).sum()
        deviation = v.square().mean((0, 2, 3), keepdim=True).sqrt()
        ideal = -torch.log2(gaussian_likelihoods(v, deviation.expand_as(v))).sum()

    assert got - of_z == pytest.approx(float(ideal), rel=0.1)


def test_scale_that_has_sunk_below_the_smallest_can_rise_again(
    hyperprior: Hyperprior, v: Tensor
) -> None:
    last = hyperprior.h_s[-1]
    assert isinstance(last, IntegerCausalConv2d)
    group = last.groups[0]
    assert isinstance(group, nn.Conv2d)
    assert group.bias is not None
    with torch.no_grad():
        group.bias.fill_(-100.0)

    hyperprior.bits(v.clamp(-0.7, 0.7), ONE, ENDS)[:, 0].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    assert group.bias.grad is not None
    assert (group.bias.grad < 0).any()  # a descent step raises it
    assert (group.bias.grad <= 0).all()  # and nothing lowers it further


def test_side_information_beyond_its_range_looks_like_the_end_of_it(
    hyperprior: Hyperprior,
) -> None:
    far = torch.full((1, 9, 2, 2), 4000.0)

    got = hyperprior.scale_index(far, WIDEST)

    assert torch.equal(got, hyperprior.scale_index(torch.full_like(far, MAX_INPUT), WIDEST))


def test_straight_through_gives_the_exact_value_and_the_gradient_of_the_other() -> None:
    value = torch.linspace(-3, 3, 1001, requires_grad=True)

    got = straight_through(value, value.floor())
    (2 * got).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    assert torch.equal(got, value.detach().floor())
    assert torch.equal(value.grad, torch.full((1001,), 2.0))  # type: ignore[arg-type]  # it is set


def test_bound_of_the_sums_is_reached_by_the_worst_input() -> None:
    torch.manual_seed(4)
    layer = IntegerCausalConv2d((3,), (5,), 3, 4, 4, MAX_ACTIVATION)
    ((_, conv),) = layer.filled(0)
    assert isinstance(conv, IntegerConv2d)
    weight, bias = (tensor.detach() for tensor in conv.integers())
    worst = MAX_ACTIVATION * weight.sign()  # (5, 3, 3, 3), one for each output

    sums = nn.functional.conv2d(worst, weight)[:, :, 0, 0].diagonal()

    assert torch.equal(weight, weight.round())
    assert torch.equal(bias, bias.round())
    assert largest_sum(weight, bias, MAX_ACTIVATION) == float((sums + bias.abs()).max())


def test_network_whose_sums_could_exceed_float32_is_refused() -> None:
    layer = IntegerCausalConv2d((64,), (8,), 3, 4, 4, MAX_ACTIVATION)
    with torch.no_grad():
        layer.get_parameter("groups.0.weight").fill_(2.0)

    with pytest.raises(InexactError, match="may reach 18[0-9]{6} .* below 8388608 only"):
        layer.check_sums(0)


def test_gaussian_likelihoods_are_those_of_compressai() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its import
        models = pytest.importorskip("compressai.entropy_models")
    v = (3 * torch.randn(2, 8, 16, 16)).round()
    scale = 0.11 + 4 * torch.rand_like(v)

    _, theirs = models.GaussianConditional(None).eval()(v, scale)

    assert torch.equal(gaussian_likelihoods(v, scale), theirs)
