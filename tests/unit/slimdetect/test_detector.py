"""The detection session: batches of latents, and whole pictures."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.decode import Latent
from slimcodec.detection import Detection
from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.graph.runtime import Graph, Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import ClassScore
from slimdetect.detector import Detector, Tail
from slimdetect.scores import Wanted
from support.models.toy_artifact import (
    LATENT_CHANNELS,
    make_image,
    make_toy_codec,
    make_toy_detector,
)

LEVELS = len(LATENT_CHANNELS)


class RecordingRuntime:
    """OpenVINO, with a note of what every graph was called with."""

    def __init__(self) -> None:
        self.inputs: dict[str, list[dict[str, NDArray[np.float32]]]] = {}
        self._runtime = OpenVinoRuntime(num_threads=1, precision="f32")

    def load(self, path: Path, exact: bool = False) -> Graph:
        graph = self._runtime.load(path, exact)
        calls = self.inputs.setdefault(path.stem, [])

        def run(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            calls.append(inputs)
            return graph(**inputs)

        return run


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path_factory.mktemp("codec")))


@pytest.fixture(scope="module")
def detector_artifact(tmp_path_factory: pytest.TempPathFactory) -> DetectorArtifact:
    return load_detector_artifact(make_toy_detector(tmp_path_factory.mktemp("detector")))


@pytest.fixture
def runtime() -> RecordingRuntime:
    return RecordingRuntime()


@pytest.fixture
def detector(
    codec: CodecArtifact, detector_artifact: DetectorArtifact, runtime: Runtime
) -> Detector:
    return Detector(codec, detector_artifact, runtime, max_batch_size=2)


def make_latent(
    level: int, image_hw: tuple[int, int], codec: CodecArtifact, seed: int = 0
) -> Latent:
    shape = (1, LATENT_CHANNELS[level], *codec.latent_hw(image_hw))
    y_hat = 3 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return Latent(y_hat=y_hat, level=level, quality=2, image_hw=image_hw)


def as_rows(detections: list[Detection]) -> NDArray[np.float64]:
    return np.array([(*d.box_xyxy, d.score, d.class_id) for d in detections]).reshape(-1, 6)


def test_batches_of_mixed_sizes_and_levels_give_what_each_gives_alone(
    codec: CodecArtifact, detector: Detector
) -> None:
    latents = [
        make_latent(0, (64, 96), codec, seed=1),
        make_latent(3, (33, 64), codec, seed=2),
        make_latent(2, (64, 96), codec, seed=3),
        make_latent(1, (50, 70), codec, seed=4),
    ]

    together = detector.detect_latents(latents, Wanted(0.3))

    assert all(together)
    for latent, found in zip(latents, together, strict=True):
        (alone,) = detector.detect_latents([latent], Wanted(0.3))
        np.testing.assert_allclose(as_rows(found), as_rows(alone), rtol=1e-3, atol=1e-3)


def test_equal_sizes_share_batches_of_bounded_size(
    codec: CodecArtifact, detector: Detector, runtime: RecordingRuntime
) -> None:
    latents = [make_latent(i % LEVELS, (64, 64), codec, seed=i) for i in range(5)]

    detector.detect_latents(latents)

    calls = runtime.inputs["feature_transform"]
    assert [len(call["y_hat"]) for call in calls] == [2, 2, 1]


def test_large_latents_do_not_run_together(
    codec: CodecArtifact, detector: Detector, runtime: RecordingRuntime
) -> None:
    detector.detect_latents([make_latent(0, (512, 768), codec)] * 2)

    assert [len(call["y_hat"]) for call in runtime.inputs["feature_transform"]] == [1, 1]


def test_a_prefix_is_filled_with_zeros_and_its_level_marked(
    codec: CodecArtifact, detector: Detector, runtime: RecordingRuntime
) -> None:
    latent = make_latent(1, (32, 32), codec)

    detector.detect_latents([latent])

    (call,) = runtime.inputs["feature_transform"]
    M_l = LATENT_CHANNELS[1]
    assert call["y_hat"].shape[1] == LATENT_CHANNELS[-1]
    assert np.array_equal(call["y_hat"][:, :M_l], latent.y_hat)
    assert not call["y_hat"][:, M_l:].any()
    assert call["level"].tolist() == [[0, 1, 0, 0]]


def test_boxes_stay_within_the_original_picture(codec: CodecArtifact, detector: Detector) -> None:
    (found,) = detector.detect_latents([make_latent(3, (33, 50), codec)], Wanted(0.2))

    boxes = as_rows(found)[:, :4]
    assert len(boxes) > 0
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 50
    assert boxes[:, 3].max() <= 33


def test_no_latents_give_no_results(detector: Detector, runtime: RecordingRuntime) -> None:
    assert detector.detect_latents([]) == []
    assert runtime.inputs == {}


@pytest.mark.parametrize("image_hw", [(1, 1), (17, 33), (64, 96)])
def test_a_picture_of_any_size_is_detected_on(
    image_hw: tuple[int, int], detector: Detector, runtime: RecordingRuntime
) -> None:
    h, w = image_hw

    found = detector.detect_image(make_image(h, w), Wanted(0.3))

    (call,) = runtime.inputs["stem"]
    assert call["x"].shape == (1, 3, -(-h // 32) * 32, -(-w // 32) * 32)
    assert all(d.box_xyxy[2] <= w and d.box_xyxy[3] <= h for d in found)


def test_scores_fall_and_reach_the_minimum(codec: CodecArtifact, detector: Detector) -> None:
    (found,) = detector.detect_latents([make_latent(3, (64, 96), codec)], Wanted(0.4))

    scores = [d.score for d in found]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.4


def test_names_come_with_the_detector(detector: Detector) -> None:
    assert detector.names[3] == "thing-03"


def test_a_detector_that_the_codec_was_not_trained_for_is_refused(
    codec: CodecArtifact, detector_artifact: DetectorArtifact, runtime: Runtime
) -> None:
    other = DetectorArtifact(
        detector_artifact.directory, detector_artifact.manifest.model_copy(update={"version": 2})
    )

    with pytest.raises(ModelError, match="toy-detector/1; found toy-detector/2"):
        Detector(codec, other, runtime)


def test_names_that_do_not_fit_the_classes_are_refused(
    codec: CodecArtifact, tmp_path: Path, runtime: Runtime
) -> None:
    directory = make_toy_detector(tmp_path)
    artifact = load_detector_artifact(directory)
    (directory / "detector.names").write_text("only one\n")

    with pytest.raises(ModelError, match="holds 1 names; the detector has 80"):
        Detector(codec, artifact, runtime)


def test_a_missing_graph_is_named(codec: CodecArtifact, tmp_path: Path, runtime: Runtime) -> None:
    directory = make_toy_detector(tmp_path)
    (directory / "stem.onnx").unlink()
    detector = Detector(codec, load_detector_artifact(directory), runtime)

    with pytest.raises(ModelError, match="stem.onnx"):
        detector.detect_image(make_image(32, 32))


def test_a_tail_of_the_codecs_own_serves_latents_and_the_detectors_serves_pictures(
    codec: CodecArtifact, detector_artifact: DetectorArtifact, tmp_path: Path
) -> None:
    own = make_toy_detector(tmp_path / "detectors", seed=1) / "tail.onnx"
    tuned = make_toy_codec(tmp_path / "codecs")
    (tuned / "tail.onnx").write_bytes(own.read_bytes())
    manifest = json.loads((tuned / "manifest.json").read_text())
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    manifest["files"]["tail.onnx"] = {"sha256": digest, "bytes": own.stat().st_size}
    (tuned / "manifest.json").write_text(json.dumps(manifest))
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    plain = Detector(codec, detector_artifact, runtime)
    with_tail = Detector(load_codec_artifact(tuned), detector_artifact, runtime)
    latent, image = make_latent(1, (64, 96), codec), make_image(64, 96)

    assert with_tail.detect_image(image, Wanted(0.3)) == plain.detect_image(image, Wanted(0.3))
    assert with_tail.detect_latents([latent], Wanted(0.3)) != plain.detect_latents(
        [latent], Wanted(0.3)
    )


def test_a_tail_that_is_listed_but_absent_is_no_reason_to_take_another(
    detector_artifact: DetectorArtifact, tmp_path: Path
) -> None:
    tuned = make_toy_codec(tmp_path)
    manifest = json.loads((tuned / "manifest.json").read_text())
    manifest["files"]["tail.onnx"] = {"sha256": "0" * 64, "bytes": 1}
    (tuned / "manifest.json").write_text(json.dumps(manifest))
    detector = Detector(load_codec_artifact(tuned), detector_artifact, OpenVinoRuntime())

    with pytest.raises(ModelError, match=r"tail\.onnx: is missing"):
        detector.warm_up()


def test_what_scores_mean_is_of_whose_tail_it_is(
    codec: CodecArtifact, detector_artifact: DetectorArtifact
) -> None:
    thirds = tuple(ClassScore(slope=1, offset=-np.log(3), threshold=0.1) for _ in range(80))
    off = tuple(ClassScore(slope=1, offset=0, threshold=None) for _ in range(80))
    told_manifest = detector_artifact.manifest.model_copy(update={"scores": thirds})
    calibrated = DetectorArtifact(detector_artifact.directory, told_manifest)
    own = replace(codec, manifest=codec.manifest.model_copy(update={"scores": off}))
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    latent, image = make_latent(1, (64, 96), codec), make_image(64, 96)
    both = Detector(own, calibrated, runtime)

    raw = both.detect_image(image, Wanted(0.01, raw=True))
    told = both.detect_image(image, Wanted(0.2))

    assert raw == Detector(codec, detector_artifact, runtime).detect_image(image, Wanted(0.01))
    scores = {d.box_xyxy: d.score for d in raw}
    odds = np.array([scores[d.box_xyxy] / (1 - scores[d.box_xyxy]) / 3 for d in told])
    np.testing.assert_allclose([d.score for d in told], odds / (1 + odds), rtol=1e-3)
    assert both.detect_image(image)
    assert both.detect_latents([latent]) == [[]]
    assert Detector(codec, calibrated, runtime).detect_latents([latent]) != [[]]
    assert Tail(calibrated, calibrated, runtime).detect_image(image) == both.detect_image(image)


def test_only_boxes_of_the_labels_asked_for_are_given(
    codec: CodecArtifact, detector: Detector
) -> None:
    latent = make_latent(3, (64, 96), codec)
    (everything,) = detector.detect_latents([latent], Wanted(0.3))
    label = everything[0].label

    (found,) = detector.detect_latents([latent], Wanted(0.3, labels=(label,)))

    best = [d for d in everything if d.label == label]
    assert found[: len(best)] == best
    assert {d.label for d in found} == {label}
    assert len(found) > len(best), "boxes of others have not taken the room"
    assert found != everything
