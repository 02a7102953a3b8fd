"""A nested codec with a hyperprior learns, is exported, served, and given a context prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import ModelReference
from slimnets.codec.codec import CodecNet
from slimtrain.codec.artifact import load_codec
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.start import begin_with, fit_prior
from slimtrain.codec.train import CodecRun, train_codec
from slimtrain.data.crops import CropSampler
from slimtrain.tabulate.tabulate import TabulateSettings, tabulate
from studies.paper.artifact import load_trained, write_paper_artifact
from studies.paper.config import PaperConfig
from studies.paper.hyperprior_codec import HyperpriorCodec
from studies.paper.recipe import build_codec
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet
from support.models.toy_artifact import make_image

CONFIG = PaperConfig(
    channels=((4, 6, 8, 8), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    prior="hyperprior",
    hyper_channels=(4, 8),
    block_transform=True,
)
PICTURES = [make_image(128, 128, seed) for seed in range(4)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> CodecRun:
    """A run that has ended."""
    weights = LossWeights(machine_levels=(1.0, 0.5), view_levels=(0.5, 1.0))
    run = CodecRun(
        tmp_path_factory.mktemp("run"),
        ALL_LAYERS_SPLIT,
        CONFIG,
        weights,
        steps=2,
        batch=2,
        crop=64,
        build=build_codec,
    )
    train_codec(run, make_darknet(), PICTURES, PICTURES[:1])
    return run


@pytest.fixture(scope="module")
def artifact(run: CodecRun) -> CodecArtifact:
    codec, tasks = load_trained(run.out / "checkpoint.pt")
    folder = run.out / "models" / "made" / "1"
    reference = ModelReference(name="none", version=1)
    return load_codec_artifact(
        write_paper_artifact(codec, PICTURES, folder, reference, "none", tasks)
    )


def test_what_is_trained_and_exported_is_served(artifact: CodecArtifact) -> None:
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    image = make_image(70, 100)

    base, full = (encoder.encode(image, level, 1.25).bitstream for level in (0, 1))
    joined = decoder.decode_latent(base, encoder.enhance(image, base).bitstream)

    container = parse_container(base)
    assert (container.version, container.prior) == (2, "hyperprior")
    assert [level.hyper_channels for level in artifact.levels] == [4, 8]
    assert artifact.manifest.pad_multiple == artifact.manifest.hyper_stride == 64
    np.testing.assert_allclose(joined.y_hat, decoder.decode_latent(full).y_hat, atol=1e-4)
    assert decoder.decode_image(joined).shape == image.shape


def test_the_product_begins_with_it_and_fits_a_prior_of_its_own(artifact: CodecArtifact) -> None:
    codec = CodecNet(load_codec(artifact.directory).config)

    new = begin_with(codec, artifact.directory)

    assert new
    assert all(name.startswith("prior.") for name in new)


def test_it_goes_on_from_its_own_weights(artifact: CodecArtifact) -> None:
    codec = HyperpriorCodec(CONFIG)

    assert begin_with(codec, artifact.directory) == []


def test_it_gets_a_context_prior(artifact: CodecArtifact, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(14):
        Image.fromarray(make_image(80, 112, seed)).save(folder / f"{seed}.png")
    settings = TabulateSettings(
        images=[folder], to=tmp_path / "made" / "2", run=tmp_path / "run", steps=1, batch=4
    )

    made = load_codec_artifact(tabulate(artifact, settings, lambda *_: ()))

    assert (made.manifest.prior, made.manifest.pad_multiple) == ("context", 32)
    assert not [name for name in made.manifest.files if name.startswith(("h_", "hyper"))]
    decoder = Decoder(made, OpenVinoRuntime(1, "f32"))
    encoder = Encoder(made, OpenVinoRuntime(1, "f32"))
    latent = decoder.decode_latent(encoder.encode(PICTURES[0], 1, 1).bitstream)
    assert decoder.decode_image(latent).shape == PICTURES[0].shape


def test_a_fitted_hyperprior_takes_fewer_bits() -> None:
    torch.manual_seed(2)
    codec = build_codec(replace(CONFIG, qualities=4))
    crops = CropSampler(PICTURES, 64, torch.device("cpu"), seed=1)
    codec.start_from(crops.batch(0, 16))
    x, quality = crops.batch(1, 16), torch.linspace(0, 3, 16)
    bits = codec.bits(x, quality).sum()

    fit_prior(codec, crops, 60)

    assert codec.bits(x, quality).sum() < 0.98 * bits
