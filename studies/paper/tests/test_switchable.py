"""The paper's switchable codecs learn, are exported, and served with a stream for each level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import ModelReference
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.train import CodecRun, train_codec
from studies.paper.artifact import load_trained, write_paper_artifact
from studies.paper.config import PaperConfig
from studies.paper.recipe import build_codec
from studies.paper.switchable import SwitchableCodec
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet
from support.models.toy_artifact import make_image

FACTORIZED = PaperConfig(
    sharing="switchable",
    channels=((4, 6, 8, 8), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    block_transform=True,
)
HYPERPRIOR = PaperConfig(
    sharing="switchable",
    channels=FACTORIZED.channels,
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    prior="hyperprior",
    hyper_channels=(4, 8),
)
CONFIGS = pytest.mark.parametrize("config", [FACTORIZED, HYPERPRIOR], ids=lambda c: c.prior)
PICTURES = [make_image(128, 128, seed) for seed in range(4)]


def pictures() -> Tensor:
    return torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2).float() / 255


def build(config: PaperConfig) -> SwitchableCodec:
    torch.manual_seed(1)
    codec = SwitchableCodec(config)
    codec.start_from(pictures())
    return codec


@CONFIGS
def test_every_parameter_learns_and_only_what_is_asked_for_is_run(config: PaperConfig) -> None:
    codec, levels = build(config), torch.tensor([0, 1, 0, 1])

    out = codec(pictures(), torch.tensor([0.0, 0.5, 1.3, 2.0]), levels, levels.flip(0), 0.5)
    only_view = codec(pictures(), torch.ones(4), None, levels)

    assert out.f_hat is not None
    assert out.x_hat is not None
    (out.rate.sum() + out.f_hat.square().sum() + out.x_hat.square().sum()).backward()
    assert [n for n, p in codec.named_parameters() if p.numel() and p.grad is None] == []
    assert only_view.f_hat is None
    assert torch.equal(only_view.level_bits.isnan(), torch.tensor([[0, 1], [1, 0]] * 2) > 0)
    assert torch.allclose(only_view.rate, only_view.level_bits.nansum(1))


@CONFIGS
@torch.no_grad()
def test_a_level_alone_is_that_level(config: PaperConfig) -> None:
    codec = build(config).eval()

    for level in range(2):
        alone = codec.alone(level)
        given, expected = alone.analyse(pictures(), 0), codec.analyse(pictures(), level)
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
        quality = torch.tensor([0.5])
        assert torch.equal(alone.gains(quality, 0)[0], codec.gains(quality, level)[0])


@CONFIGS
def test_what_is_trained_and_exported_is_served_with_separate_streams(
    config: PaperConfig, tmp_path: Path
) -> None:
    weights = LossWeights(machine_levels=(1.0, 0.0), view_levels=(0.0, 1.0))
    run = CodecRun(
        tmp_path / "run",
        ALL_LAYERS_SPLIT,
        config,
        weights,
        steps=2,
        batch=2,
        crop=64,
        build=build_codec,
    )
    checkpoint = train_codec(run, make_darknet(), PICTURES, PICTURES[:1])

    codec, tasks = load_trained(checkpoint)
    folder = tmp_path / "made" / "1"
    reference = ModelReference(name="none", version=1)
    write_paper_artifact(codec, PICTURES, folder, reference, "none", tasks)
    artifact = load_codec_artifact(folder)
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    image = make_image(70, 100)
    base = encoder.encode(image, 0, 1.25)
    enhancement = encoder.enhance(image, base.bitstream)
    full = encoder.encode(image, 1, 1.25)

    assert artifact.manifest.tasks == (("detect",), ("view",))
    assert parse_container(base.bitstream).streams == "separate"
    assert len(enhancement.bitstream) == len(full.bitstream)
    joined = decoder.decode_latent(base.bitstream, enhancement.bitstream)
    np.testing.assert_array_equal(joined.y_hat, decoder.decode_latent(full.bitstream).y_hat)
    assert decoder.decode_image(joined).shape == image.shape
