"""The triage head's trainer: it learns what the detector sees, resumes, and leaves the codec be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimcodec.decode import Decoder, Latent
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import OpenVinoRuntime
from slimcodec.model.artifact import (
    CodecArtifact,
    DetectorArtifact,
    load_codec_artifact,
    load_detector_artifact,
)
from slimdetect.triage import TriageSession
from slimtrain.data.pictures import PackedPictures
from slimtrain.data.split import is_reported
from slimtrain.triage.train import TriageRun, train_triage
from slimtrain.triage.views import VIEW_SHAPES, list_views, make_view
from support.toy_artifact import CLASSES, make_image, make_toy_codec, make_toy_detector


def _pictures(count: int, prefix: str) -> PackedPictures:
    """Busy pictures, in which the toy detector sees things, and grey ones, in which it does not."""
    rng = np.random.default_rng(len(prefix))
    images = []
    for index in range(count):
        grey = np.full((96, 128, 3), 120 + index, np.uint8) + rng.integers(0, 3, (96, 128, 3))
        images.append(make_image(96, 128, index) if index % 2 else grey.astype(np.uint8))
    names = [f"{prefix}-{index}.png" for index in range(count)]
    return PackedPictures(images, [None] * count, names, [False] * count, ["toy"] * count)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[CodecArtifact, DetectorArtifact]:
    root = tmp_path_factory.mktemp("models")
    return (
        load_codec_artifact(make_toy_codec(root)),
        load_detector_artifact(make_toy_detector(root)),
    )


def _run(out: Path, seconds: float | None = None) -> TriageRun:
    return TriageRun(
        out, steps=30, seconds=seconds, views=1, batch=4, learning_rate=0.01, num_threads=1
    )


def test_stopped_run_goes_on_and_puts_a_working_head_beside_the_codec(
    models: tuple[CodecArtifact, DetectorArtifact], tmp_path: Path
) -> None:
    codec, detector = models
    training, validation = _pictures(12, "training"), _pictures(16, "held-out")

    stopped = train_triage(_run(tmp_path, seconds=1e-9), codec, detector, training, validation)
    assert stopped is None
    assert not (codec.directory / "triage.onnx").exists()
    spec = train_triage(_run(tmp_path), codec, detector, training, validation)

    assert spec is not None
    assert spec.auc == 1.0
    assert spec.classes == CLASSES
    assert spec.pictures == sum(is_reported(name) for name in validation.names) > 4
    assert [choice.recall for choice in spec.choices] == [1.0] * 5
    grown = load_codec_artifact(codec.directory)  # digests are checked here
    assert grown.fingerprint == codec.fingerprint
    added = grown.manifest.files.keys() - codec.manifest.files.keys()
    assert added == {"triage.onnx", "triage.json"}

    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    encoder, decoder = Encoder(grown, runtime), Decoder(grown, runtime)
    session = TriageSession(grown, runtime)
    busy, grey = make_image(96, 128, 77), np.full((96, 128, 3), 126, np.uint8)

    def latent_of(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Latent:
        return decoder.decode_latent(encoder.encode(image, 0, 3).bitstream)

    of_busy, of_grey = session.presence([latent_of(busy), latent_of(grey)], range(CLASSES))
    assert of_grey < 0.5 < of_busy


def test_checkpoint_of_another_codec_is_refused_with_what_to_do(
    models: tuple[CodecArtifact, DetectorArtifact], tmp_path: Path
) -> None:
    codec, detector = models
    training, validation = _pictures(4, "training"), _pictures(4, "held-out")
    train_triage(_run(tmp_path, seconds=1e-9), codec, detector, training, validation)
    other = load_codec_artifact(make_toy_codec(tmp_path, seed=5))

    with pytest.raises(ValueError, match="remove the checkpoint"):
        train_triage(_run(tmp_path), other, detector, training, validation)


def test_labels_are_kept_for_the_next_codec(
    models: tuple[CodecArtifact, DetectorArtifact], tmp_path: Path
) -> None:
    codec, detector = models
    pictures = _pictures(4, "training")
    train_triage(_run(tmp_path, seconds=1e-9), codec, detector, pictures, pictures)
    (cache,) = tmp_path.glob("labels-*.npz")
    with np.load(cache) as file:
        arrays = dict(file)
    arrays["boxes"][:, 0] = 3  # if they are read, and not made again, they stay as they are
    np.savez(cache, **arrays)
    (tmp_path / "checkpoint.pt").unlink()

    train_triage(_run(tmp_path, seconds=1e-9), codec, detector, pictures, pictures)

    with np.load(cache) as file:
        assert set(file["boxes"][:, 0]) == {3}


def test_view_depends_on_name_and_number_alone() -> None:
    pictures = _pictures(3, "training")
    views = list_views(pictures, 3)
    shuffled = list_views(pictures.select(lambda index: index == 2), 3)

    pixels = make_view(pictures.images[2], views[7], seed=4)

    assert pixels.shape[:2] in VIEW_SHAPES
    np.testing.assert_array_equal(pixels, make_view(pictures.images[2], shuffled[1], seed=4))
    assert json.dumps([view.key for view in views]).count("training-2.png") == 3
