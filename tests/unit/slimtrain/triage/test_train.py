"""The triage head's trainer: it learns what the detector sees, resumes, and writes a version."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slimcodec.decode import Decoder, Latent
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.triage import OperatingChoice, TriageSession, TriageSpec
from slimnets.triage import TriageHead
from slimtrain.artifact_folder import ArtifactFolderError
from slimtrain.data.pictures import LoadedPicture
from slimtrain.data.split import is_reported
from slimtrain.loop.processes import LoopError
from slimtrain.triage.train import TriageRun, train_triage, write_triage
from slimtrain.triage.views import VIEW_SHAPES, list_views, make_view
from support.broken_runs import KilledError, check_killed_run_ends_like_a_whole_one
from support.models.toy_artifact import CLASSES, make_image, make_toy_codec, make_toy_detector


def _pictures(count: int, prefix: str) -> list[LoadedPicture]:
    """Busy pictures, in which the toy detector sees things, and grey ones, in which it does not."""
    rng = np.random.default_rng(len(prefix))
    pictures = []
    for index in range(count):
        grey = np.full((96, 128, 3), 120 + index, np.uint8) + rng.integers(0, 3, (96, 128, 3))
        image = make_image(96, 128, index) if index % 2 else grey.astype(np.uint8)
        pictures.append(LoadedPicture(image, None, f"{prefix}-{index}.png", "toy"))
    return pictures


Models = tuple[CodecArtifact, DetectorArtifact]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("models")
    return (
        load_codec_artifact(make_toy_codec(root)),
        load_detector_artifact(make_toy_detector(root)),
    )


def _run(out: Path, seconds: float | None = None) -> TriageRun:
    return TriageRun(
        out, steps=30, seconds=seconds, views=1, batch=4, learning_rate=0.01, threads=1
    )


def _train(out: Path, models: Models, to: Path, seconds: float | None = None) -> TriageSpec | None:
    return train_triage(
        _run(out, seconds), *models, _pictures(12, "training"), _pictures(16, "held-out"), to
    )


def test_stopped_run_goes_on_to_a_new_version_with_a_working_head(
    models: Models, tmp_path: Path
) -> None:
    codec, _ = models
    to = tmp_path / "toy" / "2"
    before = _contents(codec.directory)

    stopped = _train(tmp_path, models, to, seconds=1e-9)
    assert stopped is None
    assert not to.exists()
    spec = _train(tmp_path, models, to)

    assert spec is not None
    assert spec.auc == 1.0
    assert spec.classes == CLASSES
    assert spec.pictures == sum(is_reported(p.name) for p in _pictures(16, "held-out")) > 4
    assert [choice.recall for choice in spec.choices] == [1.0] * 5
    grown = load_codec_artifact(to)  # digests are checked here
    assert (grown.label, grown.fingerprint) == ("toy/2", codec.fingerprint)
    added = grown.manifest.files.keys() - codec.manifest.files.keys()
    assert added == {"triage.onnx", "triage.json"}
    assert grown.manifest.training["triage"] == {
        "from": "toy/1",
        "steps": 30,
        "detector": "toy-detector/1",
    }
    assert _contents(codec.directory) == before, "a model's folder never changes"

    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    encoder, decoder = Encoder(grown, runtime), Decoder(grown, runtime)
    session = TriageSession(grown, runtime)
    busy, grey = make_image(96, 128, 77), np.full((96, 128, 3), 126, np.uint8)

    def latent_of(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Latent:
        return decoder.decode_latent(encoder.encode(image, 0, 3).bitstream)

    of_busy, of_grey = session.presence([latent_of(busy), latent_of(grey)], range(CLASSES))
    assert of_grey < 0.5 < of_busy


def test_killed_run_ends_like_a_whole_one(models: Models, tmp_path: Path) -> None:
    check_killed_run_ends_like_a_whole_one(
        lambda out: _train(out, models, out / "toy" / "2"), tmp_path
    )


@pytest.mark.parametrize("moment", range(1, 40, 3))
def test_killed_while_writing_the_old_version_serves_and_no_half_one_is_seen(
    models: Models, tmp_path: Path, moment: int
) -> None:
    root = tmp_path / "models"
    codec = load_codec_artifact(make_toy_codec(root))
    (codec.directory / "profile.json").unlink(missing_ok=True)
    head = TriageHead(codec.levels[0].latent_channels, CLASSES)
    to = root / "toy" / "2"

    is_whole = _write_until(moment, lambda: write_triage(codec, head, _spec(), to))

    found = find_model("codec", "toy", root)
    assert found == (to if is_whole else codec.directory)
    assert load_codec_artifact(found).fingerprint == codec.fingerprint
    assert to.exists() == is_whole
    if not is_whole:
        write_triage(codec, head, _spec(), to)  # what is left over is in nobody's way
        assert find_model("codec", "toy", root) == to


def _write_until(moment: int, write: Callable[[], object]) -> bool:
    """Whether `write` came to its end, killed before its so-manyeth change of the disk; what it
    would clear away on an error stays, as after SIGKILL.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimtrain.artifact_folder.shutil.rmtree", lambda *_, **__: None)
        _CHANGES_LEFT[:] = [moment]
        try:
            write()
        except KilledError:
            return False
        finally:
            _CHANGES_LEFT.clear()
    return True


_CHANGES_LEFT: list[int] = []
"""Empty: nobody counts. An audit hook stays for good, so this one mostly looks away."""


def _count_changes(event: str, arguments: tuple[object, ...]) -> None:
    if not _CHANGES_LEFT:
        return
    is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
    if is_write or event in ("os.rename", "os.mkdir", "os.chmod"):
        _CHANGES_LEFT[0] -= 1
        if _CHANGES_LEFT[0] == 0:
            _CHANGES_LEFT.clear()
            raise KilledError


sys.addaudithook(_count_changes)


def _spec() -> TriageSpec:
    choice = OperatingChoice(threshold=0.5, recall=0.9, false_positive_rate=0.1)
    return TriageSpec(
        classes=CLASSES,
        latent_channels=8,
        labels=("thing-00",),
        min_score=0.3,
        threshold=0.5,
        choices=(choice,),
        auc=0.9,
        average_precision={},
        kmac_per_pixel=0.1,
        pictures=1,
        steps=1,
        detector="toy-detector/1",
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_codec_or_other_pictures_are_refused_with_what_to_do(
    models: Models, tmp_path: Path
) -> None:
    codec, detector = models
    training, validation = _pictures(4, "training"), _pictures(4, "held-out")
    to = tmp_path / "toy" / "2"
    stopped = _run(tmp_path / "run", seconds=1e-9)
    train_triage(stopped, codec, detector, training, validation, to)
    other = load_codec_artifact(make_toy_codec(tmp_path / "other", seed=5))

    with pytest.raises(LoopError, match="codec .* remove that folder"):
        train_triage(stopped, other, detector, training, validation, to)
    with pytest.raises(LoopError, match="pictures"):
        train_triage(stopped, codec, detector, _pictures(5, "training"), validation, to)


def test_place_that_is_taken_is_refused_before_any_work(models: Models, tmp_path: Path) -> None:
    with pytest.raises(ArtifactFolderError, match="raise the version"):
        _train(tmp_path / "run", models, models[0].directory)

    assert not (tmp_path / "run").exists()


def test_labels_are_kept_for_the_next_codec(models: Models, tmp_path: Path) -> None:
    codec, detector = models
    pictures, to = _pictures(4, "training"), tmp_path / "toy" / "2"
    train_triage(_run(tmp_path, seconds=1e-9), codec, detector, pictures, pictures, to)
    (cache,) = tmp_path.glob("labels-*.npz")
    with np.load(cache) as file:
        arrays = dict(file)
    arrays["boxes"][:, 0] = 3  # if they are read, and not made again, they stay as they are
    np.savez(cache, **arrays)
    (tmp_path / "checkpoint.pt").unlink()

    train_triage(_run(tmp_path, seconds=1e-9), codec, detector, pictures, pictures, to)

    with np.load(cache) as file:
        assert set(file["boxes"][:, 0]) == {3}


def test_view_depends_on_name_and_number_alone() -> None:
    pictures = _pictures(3, "training")
    views = list_views(pictures, 3)
    shuffled = list_views(pictures[2:], 3)

    pixels = make_view(pictures[2].image, views[7], seed=4)

    assert pixels.shape[:2] in VIEW_SHAPES
    np.testing.assert_array_equal(pixels, make_view(pictures[2].image, shuffled[1], seed=4))
    assert json.dumps([view.key for view in views]).count("training-2.png") == 3
