"""What scores mean, fitted: lines, thresholds, halves, and the model that tells them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import ClassScore
from slimdetect.detector import Detector
from slimdetect.scores import MIN_SCORE
from slimtrain.artifact_folder import ArtifactFolderError
from slimtrain.calibration.calibrate import CalibrationError
from slimtrain.calibration.scores import (
    LEAST_RAW,
    PRECISION,
    ClassFigures,
    cross_validate,
    fit_scores,
    look,
    wilson_bound,
    write_scores,
)
from slimtrain.figures.mean_average_precision import ClassMatches
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

CLASSES = 3


def drawn(class_id: int, boxes: int, slope: float, offset: float) -> ClassMatches:
    """Boxes that are right as often as a line says, on 20 pictures."""
    rng = np.random.default_rng(class_id)
    logits = np.sort(rng.normal(0, 1.2, boxes))[::-1]
    right = rng.random(boxes) < 1 / (1 + np.exp(-(slope * logits + offset)))
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    pictures = rng.integers(0, 20, boxes)
    return ClassMatches(
        class_id, pictures, right, np.bincount(pictures, right, 20).astype(int), scores
    )


def given(class_id: int, scores: list[float], right: list[bool]) -> ClassMatches:
    """One label and one box on each of the first pictures of 20, best first."""
    images = np.arange(len(scores))
    num_labels = np.bincount(images, minlength=20)
    return ClassMatches(class_id, images, np.array(right), num_labels, np.array(scores, np.float32))


def test_the_line_is_found_again_and_a_rare_class_is_drawn_to_that_of_all() -> None:
    frequent, rare = drawn(0, 20_000, 1.5, -0.8), given(1, [0.9, 0.5], [False, False])

    of_frequent, of_rare, unseen = fit_scores([frequent, rare], CLASSES)

    assert (of_frequent.slope, of_frequent.offset) == pytest.approx((1.5, -0.8), abs=0.1)
    assert (of_rare.slope, of_rare.offset) == pytest.approx((1.5, -0.8), abs=0.3)
    assert of_rare.offset < of_frequent.offset
    assert (of_rare.threshold, unseen.threshold) == (None, None)
    assert unseen.slope == pytest.approx(of_frequent.slope, abs=0.05)


def test_the_threshold_is_the_lowest_score_that_keeps_the_precision() -> None:
    frequent = drawn(0, 20_000, 1.0, 0.0)

    threshold = fit_scores([frequent], CLASSES)[0].threshold

    assert threshold is not None
    assert frequent.is_hit[frequent.scores >= threshold].mean() == pytest.approx(
        PRECISION, abs=0.02
    )


@pytest.mark.parametrize(("right", "is_shown"), [([True] * 2, False), ([True] * 3, True)])
def test_three_right_boxes_are_the_least_that_shows_a_class(
    right: list[bool], is_shown: bool
) -> None:
    rare = given(1, [0.9] * len(right), right)

    threshold = fit_scores([drawn(0, 500, 1.0, 0.0), rare], CLASSES)[1].threshold

    assert (threshold is not None) == is_shown


def test_a_class_is_not_shown_at_scores_that_are_hardly_ever_right() -> None:
    lucky = given(1, [0.06] * 3, [True] * 3)

    threshold = fit_scores([drawn(0, 5000, 1.0, 0.0), lucky], CLASSES)[1].threshold

    assert threshold == MIN_SCORE


def test_the_bound_is_wilsons() -> None:
    right, shown = np.array([8, 3, 0]), np.array([10, 3, 4])

    bound = wilson_bound(right, shown)

    # the least precision that the boxes are not more than one standard error away from
    np.testing.assert_allclose(
        (right / shown - bound) ** 2, bound * (1 - bound) / shown, atol=1e-12
    )
    assert (bound[:2] < right[:2] / shown[:2]).all()


def test_a_half_is_judged_by_what_the_other_says() -> None:
    sure = given(0, [0.9] * 8, [True] * 4 + [False] * 4)
    halves = np.arange(20) % 8 < 4  # right in the first half, wrong in the other

    figures = cross_validate([sure, drawn(1, 500, 1.0, 0.0)], halves, CLASSES)

    assert figures[0] == ClassFigures(shown=4, right=0, labels=8)
    assert (figures[0].precision, figures[0].recall) == (0, 0)
    assert figures[1].precision == pytest.approx(PRECISION, abs=0.1)


def test_labels_that_nothing_hits_and_scores_that_say_nothing_are_refused() -> None:
    with pytest.raises(CalibrationError, match="finds nothing"):
        fit_scores([given(0, [0.9], [False])], CLASSES)
    with pytest.raises(CalibrationError, match="no more often right"):
        fit_scores([drawn(0, 5000, -1.0, 0.0)], CLASSES)


def test_boxes_are_looked_at_with_their_raw_scores_at_every_level(tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path))
    detector = load_detector_artifact(make_toy_detector(tmp_path))
    said = (ClassScore(slope=1, offset=-3, threshold=None),) * 80
    told = replace(codec, manifest=codec.manifest.model_copy(update={"scores": said}))
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    picture = make_image(64, 96)

    found = list(look(told, detector, runtime, [picture] * 5))
    alone = list(look(None, detector, runtime, [picture]))

    assert [len(boxes.scores) > 0 for boxes in (*found, *alone)] == [True] * 6
    scores = [boxes.scores.tolist() for boxes in found]
    assert scores[0] == scores[4], "the levels take turns"
    assert len({tuple(each) for each in scores}) == len(codec.levels)
    assert min(scores[0]) >= LEAST_RAW
    assert max(scores[0]) > 0.2, "calibrated scores would be a twentieth"


def test_a_calibrated_version_is_the_model_and_what_its_scores_mean(tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path))
    detector = load_detector_artifact(make_toy_detector(tmp_path))
    scores = (ClassScore(slope=1, offset=0, threshold=0.4),) * 80
    figures = {"thing-03": ClassFigures(4, 3, 5), "thing-04": ClassFigures(0, 0, 2)}
    to = {"toy": tmp_path / "toy" / "2", "toy-detector": tmp_path / "toy-detector" / "2"}

    write_scores(codec, scores, figures, to["toy"], pictures=7, command="c")
    write_scores(detector, scores, figures, to["toy-detector"], pictures=7, command="c")

    version = load_codec_artifact(to["toy"])
    assert (version.label, version.fingerprint) == ("toy/2", codec.fingerprint)
    assert version.manifest.scores == load_detector_artifact(to["toy-detector"]).manifest.scores
    assert version.manifest.scores == scores
    assert version.profile == codec.profile
    assert version.manifest.training["scores"] == {"from": "toy/1", "pictures": 7, "command": "c"}
    assert version.manifest.figures["scores"] == {
        "precision": PRECISION,
        "shown_right_labels": {"thing-03": [4, 3, 5]},
    }
    runtime = OpenVinoRuntime(num_threads=1)
    picture = make_image(64, 96)
    bitstream = Encoder(version, runtime).encode(picture, 1, 2).bitstream
    assert bitstream == Encoder(codec, runtime).encode(picture, 1, 2).bitstream
    assert Detector(version, detector, runtime).detect_image(picture)
    with pytest.raises(ArtifactFolderError):
        write_scores(codec, scores, figures, to["toy"], pictures=7, command="c")
