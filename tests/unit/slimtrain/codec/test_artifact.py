"""Every kind of codec is exported and served: real containers, as the torch codec has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimcodec.container import HEADER_BYTES, parse_container
from slimcodec.decode import Decoder, one_hot_levels, widen_latents
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import ModelReference
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimtrain.codec.artifact import load_codec, write_codec_artifact
from support.models.toy_artifact import make_image

_SMALL = {
    "qualities": 3,
    "feature_channels": 8,
    "feature_width": 8,
    "synthesis_widths": (8, 8, 8, 8),
}
_GROWING = ((4, 6, 8, 8), (6, 8, 12, 16))
KINDS = {
    "nested": CodecConfig(_GROWING, **_SMALL),  # type: ignore[arg-type]  # by name
    "block": CodecConfig(_GROWING, **_SMALL, block_transform=True),  # type: ignore[arg-type]
    "one level": CodecConfig(_GROWING[:1], **_SMALL),  # type: ignore[arg-type]
    "equal widths": CodecConfig(((6, 8, 12, 8), (6, 8, 12, 16)), **_SMALL),  # type: ignore[arg-type]
}
IMAGE = make_image(70, 100)


@pytest.fixture(scope="module", params=list(KINDS))
def artifact(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> CodecArtifact:
    """A codec without training, its scales set by two pictures."""
    torch.manual_seed(1)
    codec = CodecNet(KINDS[request.param]).eval()
    pictures = [make_image(128, 128, seed) for seed in range(2)]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    codec.start_from(x)
    folder = tmp_path_factory.mktemp("models") / "kind" / "1"
    write_codec_artifact(
        codec, pictures, folder, ModelReference(name="none", version=1), {}, {}, "Apache-2.0"
    )
    return load_codec_artifact(folder)


@pytest.fixture(scope="module")
def openvino() -> OpenVinoRuntime:
    return OpenVinoRuntime(num_threads=1, precision="f32")


def expected_y_hat(artifact: CodecArtifact, level: int, quality: float) -> NDArray[np.float32]:
    """The latent by the torch codec, without any container: (1, M_l, h, w)."""
    codec = load_codec(artifact.directory)
    multiple = artifact.manifest.pad_multiple
    h, w = (-(-side // multiple) * multiple for side in IMAGE.shape[:2])
    padded = np.pad(IMAGE, ((0, h - 70), (0, w - 100), (0, 0)), mode="edge")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        gain, inverse = codec.gains(torch.tensor([float(quality)]), level)
        v = codec.analyse(x, level) * gain[:, :, None, None]
        return (v.round() * inverse[:, :, None, None]).numpy()


@pytest.mark.parametrize("quality", [0, 1.5])
def test_containers_carry_the_latent_of_every_level(
    artifact: CodecArtifact, openvino: OpenVinoRuntime, quality: float
) -> None:
    encoder, decoder = Encoder(artifact, openvino), Decoder(artifact, openvino)

    for level in range(len(artifact.levels)):
        encoded = encoder.encode(IMAGE, level, quality)
        latent = decoder.decode_latent(encoded.bitstream)

        expected = expected_y_hat(artifact, level, quality)
        agree = np.isclose(latent.y_hat, expected, atol=1e-4 * np.abs(expected).max())
        assert agree.mean() > 0.999  # where v lies at a half, runtimes round differently
        assert decoder.decode_image(latent).shape == IMAGE.shape


def test_base_and_enhancement_give_the_wider_level(
    artifact: CodecArtifact, openvino: OpenVinoRuntime
) -> None:
    if artifact.widest_level == 0:
        pytest.skip("one level has nothing to add")
    encoder, decoder = Encoder(artifact, openvino), Decoder(artifact, openvino)
    base = encoder.encode(IMAGE, 0, 1.25)

    enhancement = encoder.enhance(IMAGE, base.bitstream)

    full = encoder.encode(IMAGE, artifact.widest_level, 1.25)
    joined = decoder.decode_latent(base.bitstream, enhancement.bitstream)
    whole = decoder.decode_latent(full.bitstream)
    assert joined.level == whole.level == artifact.widest_level
    assert np.isclose(joined.y_hat, whole.y_hat, atol=1e-4).mean() > 0.999
    sizes = [len(each.bitstream) for each in (base, enhancement, full)]
    assert sizes[0] + sizes[1] - sizes[2] == pytest.approx(HEADER_BYTES, abs=4)


def test_features_come_from_any_level(artifact: CodecArtifact, openvino: OpenVinoRuntime) -> None:
    encoder, decoder = Encoder(artifact, openvino), Decoder(artifact, openvino)
    levels = range(len(artifact.levels))
    latents = [decoder.decode_latent(encoder.encode(IMAGE, k, 1).bitstream) for k in levels]
    graph = openvino.load(artifact.file("feature_transform.onnx"))

    f_hat = graph(
        y_hat=widen_latents(latents, artifact.levels[-1].latent_channels),
        level=one_hot_levels(latents, len(levels)),
    )["f_hat"]

    h, w = latents[0].y_hat.shape[2:]
    assert f_hat.shape == (len(latents), 8, 2 * h, 2 * w)


def test_container_says_how_it_was_coded(
    artifact: CodecArtifact, openvino: OpenVinoRuntime
) -> None:
    container = parse_container(Encoder(artifact, openvino).encode(IMAGE, 0, 1).bitstream)

    manifest = artifact.manifest
    assert (container.streams, container.prior) == (manifest.streams, manifest.prior)
    is_old = (manifest.streams, manifest.prior) == ("nested", "factorized")
    assert container.version == (1 if is_old else 2)
