"""The model that ships with the context prior: what stands still stays still."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact

STREET = Path(__file__).parents[4] / "samples" / "street.mp4"
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def scene() -> Image:
    with av.open(str(STREET)) as video:
        frame: Image = next(video.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)
        return frame


def noisy(scene: Image, sigma: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, sigma, scene.shape)
    image: Image = np.clip(np.rint(scene + noise), 0, 255).astype(np.uint8)
    return image


@pytest.mark.parametrize("sigma", [2.0, 4.0])
@pytest.mark.parametrize("level", [0, 1])
def test_still_scene_with_sensor_noise_stays_still(scene: Image, sigma: float, level: int) -> None:
    artifact, runtime = load_codec_artifact(find_model("codec", "slim")), OpenVinoRuntime(1)
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    held = encoder.encode(noisy(scene, sigma, 0), level, 1).symbols
    changed, size = [], []
    for seed in range(1, 5):
        sent = encoder.encode(noisy(scene, sigma, seed), level, 1, held)
        held = decoder.decode_symbols(sent.bitstream, None, held)
        changed.append(held.changed.mean())
        size.append(len(sent.bitstream))

    assert np.mean(changed) <= 0.002
    assert np.mean(size) <= 60


def test_bright_scene_with_sensor_noise_stays_still(scene: Image) -> None:
    """Block averages are largest there, and so is what a short float would lose of them."""
    artifact, runtime = load_codec_artifact(find_model("codec", "slim")), OpenVinoRuntime(1)
    encoder = Encoder(artifact, runtime)
    bright = np.clip(scene.astype(int) // 4 + 185, 0, 250).astype(np.uint8)
    held = encoder.encode(noisy(bright, 2.0, 0), 0, 2).symbols

    again = encoder.encode(noisy(bright, 2.0, 1), 0, 2, held)

    assert again.symbols is not None
    assert again.symbols.changed.mean() <= 0.01
