"""Bootstrapped mAP50, held against pycocotools on pictures that really are repeated."""

import numpy as np
import pytest

from slimtrain.figures.bootstrap import draw_pictures, interval
from slimtrain.figures.mean_average_precision import Labels, ScoredBoxes, match_boxes, mean_ap

pytest.importorskip("pycocotools")

from support.coco import coco_figures  # noqa: E402  # needs pycocotools


def _pictures(count: int, seed: int) -> tuple[list[ScoredBoxes], list[Labels]]:
    rng = np.random.default_rng(seed)
    found, labels = [], []
    for _ in range(count):
        size = int(rng.integers(1, 6))
        low = rng.uniform(0, 200, (size, 2))
        boxes = np.concatenate([low, low + rng.uniform(20, 80, (size, 2))], axis=1)
        classes = rng.integers(0, 3, size)
        moved = np.repeat(boxes, 2, axis=0) + rng.normal(0, 7, (2 * size, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
        ids = np.repeat(classes, 2)
        labels.append(Labels(boxes.astype(np.float32), classes, rng.random(size) < 0.1))
        scores = rng.random(len(ids)).astype(np.float32)
        found.append(ScoredBoxes(moved.astype(np.float32), scores, ids))
    return found, labels


def test_a_draw_scores_as_the_repeated_pictures_do() -> None:
    found, labels = _pictures(12, seed=3)
    draws = draw_pictures(12, num_draws=6)

    sampled = mean_ap(match_boxes(found, labels), draws=draws)

    assert draws[0].tolist() == [1] * 12
    for draw, value in zip(draws, sampled, strict=True):
        chosen = np.repeat(np.arange(12), draw.astype(int))
        by_coco = coco_figures([found[i] for i in chosen], [labels[i] for i in chosen])
        # Copies have equal scores, which the two put in different orders.
        tolerance = 1e-9 if draw.max() == 1 else 0.01
        assert value == pytest.approx(by_coco.map50, abs=tolerance)


def test_only_classes_with_enough_labels_count() -> None:
    found, labels = _pictures(12, seed=4)
    matches = match_boxes(found, labels)
    counts = [int(m.num_labels.sum()) for m in matches]
    most = max(counts)

    frequent = mean_ap(matches, min_labels=most)

    by_coco = coco_figures(found, labels).ap50_by_class
    expected = [by_coco[m.class_id] for m in matches if m.num_labels.sum() == most]
    assert min(counts) < most
    assert frequent[0] == pytest.approx(np.mean(expected))


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    found, labels = _pictures(30, seed=5)
    worse = [ScoredBoxes(f.boxes_xyxy + np.float32(3.0), f.scores, f.class_ids) for f in found]
    draws = draw_pictures(30)

    better_sampled = mean_ap(match_boxes(found, labels), draws=draws)
    worse_sampled = mean_ap(match_boxes(worse, labels), draws=draws)

    alone, change = interval(better_sampled), interval(worse_sampled - better_sampled)
    assert alone is not None
    assert change is not None
    assert alone.low < better_sampled[0] < alone.high
    assert change.high - change.low < alone.high - alone.low
    assert interval(np.full(201, np.nan)) is None
