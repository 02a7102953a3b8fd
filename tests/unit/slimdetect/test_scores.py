"""What scores mean, and which boxes are shown."""

import numpy as np
import pytest

from slimcodec.errors import ModelError
from slimcodec.model.manifest import ClassScore
from slimdetect.boxes import NO_IOU, Candidates, suppress
from slimdetect.scores import IOU_ACROSS_CLASSES, MIN_SCORE, SHOWN, Scores, Wanted

NAMES = ("person", "bird", "kite")
SAID = (
    ClassScore(slope=1.0, offset=0.0, threshold=0.5),
    ClassScore(slope=2.0, offset=-1.0, threshold=0.7),
    ClassScore(slope=0.5, offset=0.5, threshold=None),
)
CALIBRATED, RAW = Scores(SAID, NAMES), Scores((), NAMES)


def candidates(*scores: float) -> Candidates:
    """One of each class in turn, side by side."""
    n = len(scores)
    x = 10 * np.arange(n, dtype=np.float32)
    boxes = np.stack([x, np.zeros_like(x), x + 8, np.full_like(x, 8)], axis=1)
    return Candidates(boxes, np.array(scores, np.float32), np.arange(n) % len(NAMES))


def test_a_calibrated_score_is_the_line_of_its_class_over_the_logit() -> None:
    told = CALIBRATED.told(candidates(0.6, 0.6, 0.6), CALIBRATED.least(Wanted(0.0)))

    logit = np.log(0.6 / 0.4)
    expected = [0.6, 1 / (1 + np.exp(1 - 2 * logit)), 1 / (1 + np.exp(-0.5 - 0.5 * logit))]
    np.testing.assert_allclose(told.scores, expected, rtol=1e-5)


def test_scores_at_the_ends_stay_finite_and_in_order() -> None:
    told = CALIBRATED.told(candidates(0.0, 0.0, 0.0, 1.0, 1.0, 1.0), np.zeros(3, np.float32))

    assert np.isfinite(told.scores).all()
    assert (told.scores[:3] < 0.01).all()
    assert (told.scores[3:] > 0.99).all()


def test_without_calibration_scores_are_told_as_they_are() -> None:
    found = candidates(0.2, 0.25, 0.7)

    told = RAW.told(found, RAW.least(SHOWN))

    assert told.scores.tolist() == found.scores[1:].tolist()
    assert RAW.raw_floor(RAW.least(SHOWN)) == MIN_SCORE


@pytest.mark.parametrize(
    ("wanted", "least"),
    [
        (SHOWN, [0.5, 0.7, np.inf]),
        (Wanted(0.1), [0.1, 0.1, 0.1]),
        (Wanted(labels=("kite",)), [0.5, 0.7, MIN_SCORE]),
        (Wanted(0.9, labels=("kite",)), [0.9, 0.9, 0.9]),
    ],
)
def test_a_class_without_a_threshold_is_shown_only_if_asked_for(
    wanted: Wanted, least: list[float]
) -> None:
    np.testing.assert_allclose(CALIBRATED.least(wanted), least)


@pytest.mark.parametrize(
    ("wanted", "lowest"),
    [(SHOWN, 0.5), (Wanted(0.1), 0.1), (Wanted(labels=("bird",)), 0.7)],
)
def test_the_lowest_score_is_that_of_what_is_asked_for(wanted: Wanted, lowest: float) -> None:
    assert CALIBRATED.lowest(wanted) == pytest.approx(lowest)


def test_a_model_that_shows_nothing_by_itself_says_so() -> None:
    off = Scores([said.model_copy(update={"threshold": None}) for said in SAID], NAMES)

    assert off.lowest(SHOWN) == 1.0
    assert off.raw_floor(off.least(SHOWN)) == 1.0
    assert len(off.told(candidates(1.0, 1.0, 1.0), off.least(SHOWN)).scores) == 0


@pytest.mark.parametrize("wanted", [SHOWN, Wanted(0.3), Wanted(labels=("kite",))])
def test_no_box_below_the_raw_floor_is_wanted(wanted: Wanted) -> None:
    least = CALIBRATED.least(wanted)
    floor = CALIBRATED.raw_floor(least)

    assert len(CALIBRATED.told(candidates(*[0.999 * floor] * 3), least).scores) == 0
    assert len(CALIBRATED.told(candidates(*[1.001 * floor] * 3), least).scores) == 1


def test_unknown_labels_and_scores_of_another_detector_are_refused() -> None:
    with pytest.raises(ModelError, match="no class zebra"):
        CALIBRATED.least(Wanted(0.5, labels=("zebra",)))
    with pytest.raises(ModelError, match="scores of 2 classes; the detector has 3"):
        Scores(SAID[:2], NAMES)


def test_of_two_names_for_one_object_the_better_stays() -> None:
    boxes = np.array([[0, 0, 100, 50], [0, 0, 98, 50], [0, 0, 60, 50]], np.float32)
    scores, class_ids = np.array([0.6, 0.8, 0.7], np.float32), np.array([0, 1, 2])

    together = suppress(boxes, scores, class_ids, across_threshold=CALIBRATED.iou_across)

    assert together.tolist() == [1, 2]
    assert suppress(boxes, scores, class_ids).tolist() == [1, 2, 0]


def test_a_van_is_car_or_truck_and_who_rides_is_not_the_bicycle() -> None:
    names = ("person", "car", "bicycle", "truck")
    kinds = Scores((SAID[0],) * 4, names).kinds
    rider = [[0, 0, 50, 100], [0, 15, 50, 115]]  # 0.74
    van = [[200, 0, 300, 60], [200, 0, 300, 100]]  # 0.6
    boxes = np.array([rider[0], van[0], rider[1], van[1]], np.float32)
    scores, class_ids = np.array([0.6, 0.8, 0.7, 0.9], np.float32), np.array([0, 1, 2, 3])

    kept = suppress(boxes, scores, class_ids, across_threshold=0.8, kinds=kinds)

    assert [names[class_id] for class_id in class_ids[kept]] == ["truck", "bicycle", "person"]


def test_only_calibrated_scores_say_which_name_is_better() -> None:
    assert (CALIBRATED.iou_across, RAW.iou_across) == (IOU_ACROSS_CLASSES, NO_IOU)
    assert Scores((), ("car", "truck")).kinds.tolist() == [0, 1]
