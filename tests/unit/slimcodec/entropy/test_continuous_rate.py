"""The shipped codec on the sample video: every step of quality costs bits."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.graph.runtime import Graph
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact

ROOT = Path(__file__).parents[4]
PICTURES = 20
CROP = 192  # pixels
QUALITIES = [step / 4 for step in range(21)]


def street_pictures() -> list[NDArray[np.uint8]]:
    """Crops of the sample video's frames, another place of the scene each: (192, 192, 3) uint8."""
    rng = np.random.default_rng(0)
    crops = []
    with av.open(str(ROOT / "samples" / "street.mp4")) as video:
        for frame in video.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            top, left = (int(rng.integers(0, side - CROP + 1)) for side in image.shape[:2])
            crops.append(image[top : top + CROP, left : left + CROP])
    return [crops[i] for i in np.linspace(0, len(crops) - 1, PICTURES).astype(int)]


class Remembering:
    """A runtime whose graphs run once per picture: qualities differ behind g_a only."""

    def __init__(self) -> None:
        self._runtime = OpenVinoRuntime(num_threads=1, precision="f32")
        self._known: dict[bytes, dict[str, NDArray[np.float32]]] = {}

    def load(self, path: Path, exact: bool = False) -> Graph:
        def run(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            key = path.name.encode() + inputs["x"].tobytes()
            if key not in self._known:
                self._known[key] = self._runtime.load(path, exact)(**inputs)
            return self._known[key]

        return run


@pytest.fixture(scope="module")
def sizes() -> NDArray[np.int64]:
    """Bytes of every picture at every quality, (pictures, qualities)."""
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models"))
    encoder = Encoder(codec, Remembering())
    return np.array(
        [
            [len(encoder.encode(picture, 0, quality).bitstream) for quality in QUALITIES]
            for picture in street_pictures()
        ]
    )


def test_mean_rate_rises_strictly_with_quality(sizes: NDArray[np.int64]) -> None:
    assert sizes.shape == (PICTURES, len(QUALITIES))
    assert (np.diff(sizes.mean(0)) > 0).all()


def test_rate_of_every_picture_rises_with_quality(sizes: NDArray[np.int64]) -> None:
    assert np.argwhere(np.diff(sizes, axis=1) < 0).tolist() == []
