"""Average precision, held against pycocotools."""

from collections.abc import Sequence

import numpy as np
import pytest

from slimtrain.figures.mean_average_precision import (
    IOUS,
    Labels,
    ScoredBoxes,
    count_labels,
    labels_of,
    match_boxes,
    mean_ap,
)

pytest.importorskip("pycocotools")

from support.coco import coco_figures  # noqa: E402  # needs pycocotools


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


def _by_class(found: Sequence[ScoredBoxes], labels: Sequence[Labels]) -> dict[int, float]:
    matches = match_boxes(found, labels)
    once = np.ones((1, len(labels)))
    return {match.class_id: float(match.average_precision(once)[0]) for match in matches}


BOX = [10.0, 10.0, 50.0, 60.0]
OTHER = [100.0, 100.0, 150.0, 140.0]


def test_finding_everything_exactly_is_one() -> None:
    found, labels = [_found([BOX, OTHER], [0.9, 0.4], [0, 3])], [_labels([BOX, OTHER], [0, 3])]

    for iou in IOUS:
        assert mean_ap(match_boxes(found, labels, iou)) == pytest.approx([1.0])
    assert count_labels(labels) == {0: 1, 3: 1}


def test_a_missed_class_counts_and_a_class_without_labels_does_not() -> None:
    found = [_found([BOX, OTHER], [0.9, 0.8], [0, 7])]

    by_class = _by_class(found, [_labels([BOX, OTHER], [0, 3])])

    assert by_class == {0: pytest.approx(1.0), 3: pytest.approx(0.0)}


def test_an_ignored_label_neither_helps_nor_harms() -> None:
    labels = [_labels([BOX, OTHER], [0, 0], [False, True])]

    with_it = match_boxes([_found([OTHER, BOX], [0.9, 0.8], [0, 0])], labels)
    without_it = match_boxes([_found([BOX], [0.8], [0])], labels)

    assert mean_ap(with_it) == pytest.approx([1.0])
    assert mean_ap(without_it) == pytest.approx([1.0])
    assert count_labels(labels) == {0: 1}


def test_nothing_labelled_gives_no_figure() -> None:
    matches = match_boxes([_found([BOX], [0.9], [0])], [_labels([], [])])

    assert np.isnan(mean_ap(matches)).tolist() == [True]


def test_nothing_found_gives_zero() -> None:
    matches = match_boxes([_found([], [], [])], [_labels([BOX], [0])])

    assert mean_ap(matches).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(4))
def test_pycocotools_agrees_at_every_iou(seed: int) -> None:
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

    by_iou = [float(mean_ap(match_boxes(found, labels, iou))[0]) for iou in IOUS]

    by_coco = coco_figures(found, labels)
    assert _by_class(found, labels) == pytest.approx(by_coco.ap50_by_class, abs=1e-9)
    assert by_iou[0] == pytest.approx(by_coco.map50, abs=1e-9)
    assert np.mean(by_iou) == pytest.approx(by_coco.map, abs=1e-9)
    assert 0.1 < by_iou[0] < 0.95


def test_normalised_boxes_become_pixels_and_unsure_ones_are_ignored() -> None:
    boxes = np.asarray([[1, 0.5, 0.5, 0.5, 0.2, 1.0], [2, 0.5, 0.5, 1.0, 1.0, 0.3]], np.float32)

    labels = labels_of(boxes, (100, 200))

    np.testing.assert_allclose(labels.boxes_xyxy, [[50, 40, 150, 60], [0, 0, 200, 100]])
    assert labels.is_ignored.tolist() == [False, True]
