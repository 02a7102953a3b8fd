"""The public face: what a program gets from `import slimwire`, on toy models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import slimwire
from support.models.toy_artifact import LATENT_CHANNELS, QUALITIES, make_image
from support.models.toy_artifact import make_toy_codec as make_codec
from support.models.toy_artifact import make_toy_detector as make_detector

RGB = make_image(64, 96)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_codec(root, seed=1)
    make_detector(root)
    return root


@pytest.fixture(autouse=True)
def _found(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMWIRE_MODELS", str(models))


@pytest.fixture(scope="module")
def codec(models: Path) -> slimwire.Codec:
    return slimwire.Codec("toy", models=models, threads=1)


def _distance(rgb_hat: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    return float(np.mean((rgb_hat.astype(np.float64) - RGB.astype(np.float64)) ** 2))


def test_a_picture_goes_there_and_back() -> None:
    base = slimwire.encode(RGB, model="toy")
    rest = slimwire.enhance(RGB, base)
    rgb_hat, better = slimwire.decode(base), slimwire.decode(base, rest)

    assert rgb_hat.shape == better.shape == RGB.shape
    assert rgb_hat.dtype == np.uint8
    assert _distance(better) < _distance(rgb_hat)
    assert len(base) < RGB.nbytes / 10


def test_boxes_come_from_the_bytes_the_surest_first() -> None:
    base = slimwire.encode(RGB, model="toy")

    boxes = slimwire.detect(base, min_score=0.1)

    assert isinstance(boxes[0], slimwire.Detection)
    assert all(box.label in slimwire.Codec("toy").labels for box in boxes)
    assert all(0 <= x <= 96 and 0 <= y <= 64 for box in boxes for x, y in [box.box_xyxy[:2]])
    scores = [box.score for box in boxes]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.1
    assert slimwire.detect(base, slimwire.enhance(RGB, base), min_score=0.1)


def test_functions_and_codec_are_one(codec: slimwire.Codec) -> None:
    base = codec.encode(RGB, level=1, quality=2.5)

    assert slimwire.encode(RGB, level=1, quality=2.5, model="toy") == base
    assert codec.encode(RGB) == codec.encode(RGB, level=0, quality=QUALITIES // 2)
    assert slimwire.enhance(RGB, base, level=2) == codec.enhance(RGB, base, level=2)
    np.testing.assert_array_equal(slimwire.decode(base), codec.decode(base))
    assert slimwire.detect(base) == codec.detect(base)


def test_pictures_of_pillow_are_pictures(codec: slimwire.Codec) -> None:
    assert codec.encode(Image.fromarray(RGB)) == codec.encode(RGB)


def test_a_codec_says_what_it_can(codec: slimwire.Codec) -> None:
    assert codec.label == "toy/1"
    assert codec.widest_level == len(LATENT_CHANNELS) - 1
    assert codec.finest_quality == QUALITIES - 1
    assert len(codec.fingerprint) == 8
    assert codec.labels[0]


def test_a_model_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slimwire.encode(RGB, model="toy")
    monkeypatch.setattr("slimwire.codec.Codec.__init__", None)  # a second opening would call it

    slimwire.encode(RGB, model="toy")


def test_bytes_of_a_model_that_is_not_here_name_it(models: Path, tmp_path: Path) -> None:
    make_codec(tmp_path, seed=2)
    foreign = slimwire.Codec("toy", models=tmp_path)
    base = foreign.encode(RGB)

    with pytest.raises(slimwire.ModelError, match=foreign.fingerprint.hex()):
        slimwire.decode(base)


@pytest.mark.parametrize(
    "picture", [RGB[..., 0], RGB.astype(np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(codec: slimwire.Codec, picture: Any) -> None:
    with pytest.raises(slimwire.ImageError):
        codec.encode(picture)


def test_damaged_bytes_are_refused(codec: slimwire.Codec) -> None:
    base = codec.encode(RGB)

    for read in (codec.decode, codec.detect, slimwire.decode, slimwire.detect):
        with pytest.raises(slimwire.BitstreamError):
            read(base[:-1])


def test_a_model_without_detector_says_so(tmp_path: Path) -> None:
    make_codec(tmp_path, seed=1)
    codec = slimwire.Codec("toy", models=tmp_path)

    with pytest.raises(slimwire.ModelError, match="no model"):
        codec.detect(codec.encode(RGB))
