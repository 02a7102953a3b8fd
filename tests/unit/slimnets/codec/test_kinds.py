"""Codecs of every kind: nested, split latent, one level, with a block transform."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.export.codec import export_g_a, export_g_s

SMALL = CodecConfig(
    channels=((4, 6, 8, 10), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(16, 12, 8, 8),
)
KINDS = {
    "nested": SMALL,
    "split latent": replace(SMALL, channels=((6, 8, 12, 10), (6, 8, 12, 16))),
    "one level": replace(SMALL, channels=((6, 8, 12, 16),)),
    "block transform": replace(SMALL, block_transform=True),
}


def pictures(count: int = 4, side: int = 64) -> Tensor:
    """Smooth random pictures (count, 3, side, side)."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return smooth.clamp(0, 1)


def build(kind: str) -> CodecNet:
    torch.manual_seed(1)
    codec = CodecNet(KINDS[kind])
    codec.start_from(pictures(16))
    return codec


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_a_trained_level_learns(kind: str) -> None:
    codec = build(kind)
    K = codec.config.num_levels
    levels = torch.arange(4) % K

    out = codec(pictures(), torch.tensor([0.0, 0.5, 1.3, 2.0]), levels, levels.flip(0), 0.5)

    assert out.f_hat is not None
    assert out.x_hat is not None
    assert out.f_hat.shape == (4, 8, 8, 8)
    assert out.x_hat.shape == (4, 3, 64, 64)
    assert out.level_bits.shape == (4, K)
    loss = out.rate.sum() + out.f_hat.square().sum() + (out.x_hat - pictures()).square().sum()
    loss.backward()
    still = [n for n, p in codec.named_parameters() if p.numel() and p.grad is None]
    assert still == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0, -1])
def test_exported_analysis_agrees_with_the_trained_one(
    kind: str, level: int, tmp_path: Path
) -> None:
    codec = build(kind).eval()
    level %= codec.config.num_levels
    path = tmp_path / "g_a.onnx"
    path.write_bytes(export_g_a(codec, level).SerializeToString())

    given = OpenVinoRuntime(precision="f32").load(path)(x=pictures(1).numpy())["y"]

    y = codec.analyse(pictures(1), level).detach().numpy()
    assert y.shape == (1, codec.config.latent_channels[level], 4, 4)
    np.testing.assert_allclose(given, y, rtol=2e-2, atol=2e-2 * np.abs(y).max())


def test_exported_synthesis_adds_the_block_transform(tmp_path: Path) -> None:
    codec = build("block transform").eval()
    y_hat, level = codec.prefix(codec.analyse(pictures(1), 1), torch.tensor([1]))
    path = tmp_path / "g_s.onnx"
    path.write_bytes(export_g_s(codec).SerializeToString())

    given = OpenVinoRuntime(precision="f32").load(path)(
        y_hat=y_hat.detach().numpy(), level=level.numpy()
    )["x_hat"]

    np.testing.assert_allclose(given, codec.g_s(y_hat, level).detach().numpy(), atol=1e-2)


def test_block_transform_begins_as_a_transform_coder() -> None:
    torch.manual_seed(1)
    codec = CodecNet(CodecConfig(block_transform=True, feature_channels=8))
    codec.start_from(pictures(16))
    x = pictures()

    finest, widest = torch.full((4,), 5.0), torch.full((4,), 3)
    x_hat = codec(x, finest, None, widest).x_hat

    assert x_hat is not None
    psnr = -10 * torch.log10((x_hat - x).square().mean())
    assert psnr > 35  # smooth pictures, steps of 20/255 at a gain of 3
    narrow = codec.analyse(x, 0)
    torch.testing.assert_close(codec.analyse(x, 3)[:, :32], narrow, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["nested", "split latent"])
def test_levels_share_streams_and_gains(kind: str) -> None:
    codec = build(kind)

    wide, narrow = (codec.analyse(pictures(), level) for level in (1, 0))

    assert torch.allclose(wide[:, :10], narrow, atol=1e-5)
    assert codec.log_gain.shape == (3, 16)


def test_task_that_is_not_asked_for_is_not_run() -> None:
    codec = build("nested")

    assert codec(pictures(), torch.ones(4), None, torch.tensor([0, 0, 1, 1])).f_hat is None
    assert codec(pictures(), torch.ones(4), torch.tensor([0, 0, 1, 1]), None).x_hat is None


def test_gains_between_two_qualities_are_interpolated_geometrically() -> None:
    codec = build("nested")
    with torch.no_grad():
        codec.log_gain.normal_()

    gain, _ = codec.gains(torch.tensor([0.0, 1.0, 0.25]), 0)

    torch.testing.assert_close(gain[2], gain[0] ** 0.75 * gain[1] ** 0.25)
    torch.testing.assert_close(codec.gains(torch.tensor([2.0]), 1)[0][0], codec.log_gain[2].exp())
