"""Scale indexes are the same however h_s runs, on 10.6 million latents; an ordinary float h_s does
not hold that.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studies.paper.hyperprior import NUM_SCALES, Hyperprior
from studies.paper.scale_runs import (
    LATENT_GROUPS,
    RUNS,
    WIDEST,
    FloatScales,
    IntegerScales,
    draw_z_hat,
    make_hyperprior,
    reference,
)

SEED = 5
PICTURES, SIDE = 6, 24  # of z_hat; 6 x 192 x 96 x 96 latents


@pytest.fixture(scope="module")
def hyperprior() -> Hyperprior:
    return make_hyperprior(SEED)


@pytest.fixture(scope="module")
def z_hat() -> Tensor:
    return draw_z_hat(SEED, PICTURES, SIDE)


@pytest.fixture(scope="module")
def index(hyperprior: Hyperprior, z_hat: Tensor) -> Tensor:
    return reference(IntegerScales(hyperprior), z_hat)


def test_indexes_under_test_are_many_and_cover_the_scales(index: Tensor) -> None:
    share = torch.histc(index, NUM_SCALES, 0, NUM_SCALES - 1) / index.numel()

    assert index.numel() >= 10**7
    assert (share[1:-1] > 1e-3).all()
    assert share.sum() == 1.0
    assert torch.equal(index, index.round())


@pytest.mark.parametrize("name", RUNS)
def test_indexes_are_identical_however_h_s_runs(
    hyperprior: Hyperprior, z_hat: Tensor, index: Tensor, name: str
) -> None:
    got = RUNS[name](IntegerScales(hyperprior), z_hat)

    assert torch.equal(got, index)


def test_an_ordinary_float_h_s_gives_other_indexes_in_float64(
    hyperprior: Hyperprior, z_hat: Tensor
) -> None:
    scales = FloatScales(hyperprior)

    differing = (RUNS["torch, float64"](scales, z_hat) != reference(scales, z_hat)).sum()

    assert differing > 0


def test_float_h_s_of_the_comparison_is_the_same_network_but_for_rounding(
    hyperprior: Hyperprior, z_hat: Tensor, index: Tensor
) -> None:
    off = (reference(FloatScales(hyperprior), z_hat[:1]) - index[:1]).abs()

    assert 0.0 < off.mean() < 1.0


@pytest.mark.parametrize("level", range(WIDEST))
def test_indexes_of_a_level_are_the_prefix_of_the_wider_one(
    hyperprior: Hyperprior, z_hat: Tensor, index: Tensor, level: int
) -> None:
    narrow = hyperprior.scale_index(z_hat[:, : hyperprior.hyper_prefix[level]], level)

    assert narrow.shape[1] == sum(LATENT_GROUPS[: level + 1])
    assert torch.equal(narrow, index[:, : narrow.shape[1]])


def test_autocast_does_not_change_an_index(
    hyperprior: Hyperprior, z_hat: Tensor, index: Tensor
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        got = hyperprior.scale_index(z_hat[:1], WIDEST)

    assert torch.equal(got, index[:1])


def test_sums_may_be_wrong_by_almost_half_a_unit(
    hyperprior: Hyperprior, z_hat: Tensor, index: Tensor
) -> None:
    noise = torch.Generator().manual_seed(SEED)

    def disturb(_module: object, _inputs: object, sums: Tensor) -> Tensor:
        return sums + 0.96 * (torch.rand(sums.shape, generator=noise) - 0.5)

    convs = [conv for layer in hyperprior.h_s for conv in layer.groups]  # type: ignore[union-attr]  # torch types members of a ModuleList as Module
    hooks = [conv.register_forward_hook(disturb) for conv in convs]
    got = hyperprior.scale_index(z_hat[:1], WIDEST)
    for hook in hooks:
        hook.remove()

    assert torch.equal(got, index[:1])
