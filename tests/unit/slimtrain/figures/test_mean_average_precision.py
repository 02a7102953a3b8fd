"""Average precision, by pycocotools and by numpy."""

import numpy as np
import pytest

from slimtrain.figures.mean_average_precision import (
    Labels,
    ScoredBoxes,
    average_precision_50,
    labels_of,
    mean_average_precision,
)

pytest.importorskip("pycocotools")


def _labels(
    boxes: list[list[float]], classes: list[int], ignored: list[bool] | None = None
) -> Labels:
    return Labels(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(classes, np.int64),
        np.asarray(ignored or [False] * len(classes), np.bool_),
    )


def _found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> ScoredBoxes:
    return ScoredBoxes(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        np.asarray(classes, np.int64),
    )


BOX = [10.0, 10.0, 50.0, 60.0]
OTHER = [100.0, 100.0, 150.0, 140.0]


def test_finding_everything_exactly_is_one() -> None:
    figures = mean_average_precision(
        [_found([BOX, OTHER], [0.9, 0.4], [0, 3])], [_labels([BOX, OTHER], [0, 3])]
    )

    assert figures.map50 == pytest.approx(1.0)
    assert figures.map == pytest.approx(1.0)
    assert figures.labels_by_class == {0: 1, 3: 1}


def test_a_missed_class_counts_and_a_class_without_labels_does_not() -> None:
    found = [_found([BOX, OTHER], [0.9, 0.8], [0, 7])]

    figures = mean_average_precision(found, [_labels([BOX, OTHER], [0, 3])])

    assert figures.ap50_by_class == {0: pytest.approx(1.0), 3: pytest.approx(0.0)}


def test_an_ignored_label_neither_helps_nor_harms() -> None:
    labels = [_labels([BOX, OTHER], [0, 0], [False, True])]

    with_it = mean_average_precision([_found([OTHER, BOX], [0.9, 0.8], [0, 0])], labels)
    without_it = mean_average_precision([_found([BOX], [0.8], [0])], labels)

    assert with_it.map50 == pytest.approx(1.0)
    assert without_it.map50 == pytest.approx(1.0)
    assert with_it.labels_by_class == {0: 1}


def test_nothing_labelled_gives_no_figure() -> None:
    figures = mean_average_precision([_found([BOX], [0.9], [0])], [_labels([], [])])

    assert figures.map50 is None


def test_nothing_found_gives_zero() -> None:
    figures = mean_average_precision([_found([], [], [])], [_labels([BOX], [0])])

    assert figures.map50 == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(4))
def test_numpy_and_pycocotools_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, found = [], []
    for _ in range(12):
        count = int(rng.integers(0, 9))
        low = rng.uniform(0, 200, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(15, 80, (count, 2))], axis=1)
        classes = rng.integers(0, 3, count)
        labels.append(_labels(boxes.tolist(), classes.tolist(), (rng.random(count) < 0.2).tolist()))
        moved = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * count, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
        stray_low = rng.uniform(0, 200, (3, 2))
        stray = np.concatenate([stray_low, stray_low + 40], axis=1)
        everything = np.concatenate([moved, stray])
        ids = np.concatenate([np.repeat(classes, 2), rng.integers(0, 3, 3)])
        found.append(_found(everything.tolist(), rng.random(len(ids)).tolist(), ids.tolist()))

    by_coco = mean_average_precision(found, labels)
    by_numpy = average_precision_50(found, labels)

    assert by_numpy.labels_by_class == by_coco.labels_by_class
    assert by_numpy.ap50_by_class == pytest.approx(by_coco.ap50_by_class, abs=1e-9)
    assert by_numpy.map50 is not None
    assert 0.1 < by_numpy.map50 < 0.95


def test_normalised_boxes_become_pixels_and_unsure_ones_are_ignored() -> None:
    boxes = np.asarray([[1, 0.5, 0.5, 0.5, 0.2, 1.0], [2, 0.5, 0.5, 1.0, 1.0, 0.3]], np.float32)

    labels = labels_of(boxes, (100, 200))

    np.testing.assert_allclose(labels.boxes_xyxy, [[50, 40, 150, 60], [0, 0, 200, 100]])
    assert labels.is_ignored.tolist() == [False, True]
