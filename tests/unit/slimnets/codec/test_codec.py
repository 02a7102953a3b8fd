"""The training model, its prior, its counter and the tables made from it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.codec.prior import FactorizedPrior
from slimnets.count import count_macs
from slimnets.export.tabulate import TABLE_STEPS, tabulate

OLDER_FIELDS = {
    "channels",
    "qualities",
    "feature_channels",
    "feature_width",
    "synthesis_widths",
}


@pytest.fixture
def codec() -> CodecNet:
    torch.manual_seed(5)
    return CodecNet(CodecConfig())


def factorized(codec: CodecNet) -> FactorizedPrior:
    prior = codec.prior
    assert isinstance(prior, FactorizedPrior)
    return prior


def test_narrowest_encoder_takes_at_most_one_and_the_widest_twenty_kmac_per_pixel(
    codec: CodecNet,
) -> None:
    x = torch.rand(1, 3, 64, 64)

    kmacs = [count_macs(codec.g_a, x, level) / 64**2 / 1000 for level in range(4)]
    dense = CodecNet(codec.config.only(3))  # as it is exported

    assert kmacs == sorted(kmacs)
    assert kmacs[0] <= 1.0
    assert count_macs(dense.g_a, x, 0) / 64**2 / 1000 <= 20.0
    # 5x5 convolutions of 3-8-16-24-32 channels at strides 2, 4, 8, 16, and GDN's 8^2, 16^2, 24^2
    by_hand = (
        25 * (3 * 8 / 4 + 8 * 16 / 16 + 16 * 24 / 64 + 24 * 32 / 256) + 64 / 4 + 256 / 16 + 576 / 64
    )
    assert kmacs[0] == pytest.approx(by_hand / 1000)


def test_decoders_take_any_level_and_see_nothing_beyond_its_prefix(codec: CodecNet) -> None:
    y_hat = torch.randn(2, 192, 4, 4)
    changed = y_hat.clone()
    changed[:, 64:] += 5.0

    for level in range(4):
        prefix, one_hot = codec.prefix(y_hat, torch.full((2,), level))
        assert codec.g_s(prefix, one_hot).shape == (2, 3, 64, 64)
        assert codec.feature_transform(prefix, one_hot).shape == (2, 128, 8, 8)
    prefix, one_hot = codec.prefix(y_hat, torch.tensor([1, 1]))
    other, _ = codec.prefix(changed, torch.tensor([1, 1]))
    assert torch.equal(codec.g_s(prefix, one_hot), codec.g_s(other, one_hot))


def test_rate_of_a_group_does_not_depend_on_wider_groups(codec: CodecNet) -> None:
    x = torch.rand(1, 3, 64, 64)
    torch.manual_seed(0)

    out = codec(x, torch.tensor([2.0]), torch.tensor([0]), torch.tensor([3]))

    assert out.level_bits.shape == (1, 4)
    assert (out.level_bits.diff(prepend=torch.zeros(1, 1)) > 0).all()
    assert torch.equal(out.rate, out.level_bits[:, -1])


def test_prior_is_a_distribution_for_every_gain(codec: CodecNet) -> None:
    v = torch.arange(-4000.0, 4001.0).expand(1, 192, 1, -1)

    for gain in (0.5, 1.0, 3.0):
        total = factorized(codec).likelihoods(v, torch.full((1, 192), gain)).sum((0, 2, 3))
        torch.testing.assert_close(total, torch.ones(192), rtol=1e-3, atol=1e-3)


def test_prior_agrees_with_an_independent_implementation(codec: CodecNet) -> None:
    models = pytest.importorskip("compressai.entropy_models")
    theirs = models.EntropyBottleneck(192, filters=(3, 3, 3))
    state = theirs.state_dict()
    for i, matrix in enumerate(factorized(codec).matrices):
        state[f"matrices.{i}" if f"matrices.{i}" in state else f"_matrix{i}"] = matrix.detach()
        bias = factorized(codec).biases[i].detach()
        state[f"biases.{i}" if f"biases.{i}" in state else f"_bias{i}"] = bias
    for i, factor in enumerate(factorized(codec).factors):
        state[f"factors.{i}" if f"factors.{i}" in state else f"_factor{i}"] = factor.detach()
    theirs.load_state_dict(state)
    v = torch.randn(2, 192, 3, 3) * 4

    ours = factorized(codec).likelihoods(v, torch.ones(2, 192))
    flat = v.permute(1, 0, 2, 3).reshape(192, 1, -1)
    likelihood = theirs._likelihood(flat)
    likelihood = likelihood[0] if isinstance(likelihood, tuple) else likelihood
    expected = likelihood.reshape(192, 2, 3, 3).permute(1, 0, 2, 3)

    torch.testing.assert_close(ours, expected.clamp_min(1e-9), rtol=1e-4, atol=1e-6)


def test_tables_are_whole_distributions_with_room_for_zero_and_an_escape(codec: CodecNet) -> None:
    tables = tabulate(codec, [torch.rand(1, 3, 64, 64)])

    tables.validate()
    assert tables.gain.shape == (6, 192)
    assert tables.offset.shape == (5 * TABLE_STEPS + 1, 192)
    assert (tables.offset <= 0).all()
    # zero has a bin that is not the escape
    assert (tables.offset + tables.cdf_length - 2 > 0).all()


def test_tables_without_pictures_are_refused(codec: CodecNet) -> None:
    with pytest.raises(ValueError, match="no pictures"):
        tabulate(codec, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ((8, 16, 24, 32), (8, 32, 48, 32))},
        {"channels": ((8, 16, 24, 32), (4, 32, 48, 64))},
        {"qualities": 0},
        {"sharing": "nest"},
        {"prior": "hyper"},
    ],
)
def test_configurations_that_make_no_codec_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="levels must grow|qualities|sharing|prior"):
        CodecConfig(**wrong)


def test_configuration_survives_json() -> None:
    config = CodecConfig(block_transform=True, feature_channels=64)

    assert CodecConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_configuration_of_an_older_manifest_is_what_it_was() -> None:
    older = {k: v for k, v in asdict(CodecConfig()).items() if k in OLDER_FIELDS}

    assert CodecConfig(**older) == CodecConfig()
