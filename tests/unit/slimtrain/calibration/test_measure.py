"""What points are worth: against labels, or against the uncompressed pictures' detections."""

from __future__ import annotations

import numpy as np
import pytest

from slimtrain.calibration.measure import PicturePoints, measure_utilities
from slimtrain.figures.mean_average_precision import Labels, ScoredBoxes

GOOD, BAD = (0, 1), (0, 0)
CAR, TRUCK = 2, 7


def boxes(*found: tuple[int, float, float]) -> ScoredBoxes:
    """Ten pixels square each: (class, score, left)."""
    return ScoredBoxes(
        boxes_xyxy=np.asarray(
            [[left, 0, left + 10, 10] for _, _, left in found], np.float32
        ).reshape(-1, 4),
        scores=np.asarray([score for _, score, _ in found], np.float32),
        class_ids=np.asarray([class_id for class_id, _, _ in found], np.int64),
    )


def labels(*there: tuple[int, float]) -> Labels:
    found = boxes(*[(class_id, 1.0, left) for class_id, left in there])
    return Labels(found.boxes_xyxy, found.class_ids, np.zeros(len(there), np.bool_))


def picture(uncompressed: ScoredBoxes, good: ScoredBoxes, bad: ScoredBoxes) -> PicturePoints:
    return PicturePoints((100, 100), {GOOD: 200, BAD: 100}, uncompressed, {GOOD: good, BAD: bad})


TWO_CARS = boxes((CAR, 0.9, 0), (CAR, 0.8, 50))
ONE_CAR = boxes((CAR, 0.9, 0))


def test_without_labels_the_uncompressed_picture_is_the_truth() -> None:
    measured = measure_utilities([picture(TWO_CARS, TWO_CARS, ONE_CAR)], None)

    assert measured is not None
    assert measured.source == "uncompressed"
    assert measured.map50_uncompressed == pytest.approx(1.0)
    assert measured.by_point[GOOD] == pytest.approx(1.0)
    assert measured.by_point[BAD] == pytest.approx(51 / 101)  # of 101 recall points, up to 0.5


def test_detections_that_are_not_sure_are_not_the_truth() -> None:
    unsure = boxes((CAR, 0.9, 0), (CAR, 0.1, 50))

    measured = measure_utilities([picture(unsure, ONE_CAR, boxes())], None)

    assert measured is not None
    assert measured.labels == 1
    assert measured.by_point == {GOOD: pytest.approx(1.0), BAD: 0.0}


def test_labels_go_before_what_the_detector_sees() -> None:
    truth = labels((CAR, 0), (CAR, 50))

    measured = measure_utilities([picture(ONE_CAR, TWO_CARS, ONE_CAR)], [truth])

    assert measured is not None
    assert measured.source == "labels"
    assert measured.by_point[BAD] == pytest.approx(1.0)  # as much as uncompressed
    assert measured.by_point[GOOD] == pytest.approx(101 / 51)  # more than uncompressed: noise, kept


def test_rare_classes_do_not_count_beside_frequent_ones() -> None:
    row = [(CAR, 0.9, 12.0 * n) for n in range(8)]
    seen = boxes(*row, (TRUCK, 0.9, 200.0))

    measured = measure_utilities([picture(seen, boxes(*row), seen)], None)

    assert measured is not None
    assert (measured.classes, measured.labels) == (1, 8)
    assert measured.by_point[GOOD] == measured.by_point[BAD] == pytest.approx(1.0)


def test_nothing_there_and_no_detector_give_no_utility() -> None:
    nothing = picture(boxes(), boxes(), boxes())
    unseen = PicturePoints((100, 100), {GOOD: 200}, None, {})

    assert measure_utilities([nothing], None) is None
    assert measure_utilities([picture(ONE_CAR, ONE_CAR, ONE_CAR)], [labels((CAR, 80))]) is None
    assert measure_utilities([unseen], None) is None
    assert measure_utilities([], None) is None
