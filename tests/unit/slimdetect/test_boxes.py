"""Raw head maps to boxes, and suppression, against slow references."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.detection import Detection
from slimcodec.model.manifest import Head
from slimdetect.boxes import Candidates, clip_detections, decode_heads, suppress

CLASSES = 4


HEADS = (
    Head(stride=32, anchors=((116, 90), (156, 198), (373, 326)), scale_x_y=1.0),
    Head(stride=16, anchors=((30, 61), (62, 45)), scale_x_y=1.05),
    Head(stride=8, anchors=((10, 13),), scale_x_y=2.0),
)


def make_raw(seed: int, h: int = 64, w: int = 96, scale: float = 3.0) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [
        (
            scale
            * rng.standard_normal(
                (len(head.anchors) * (5 + CLASSES), h // head.stride, w // head.stride)
            )
        ).astype(np.float32)
        for head in HEADS
    ]


def decode_slowly(
    raw: Sequence[NDArray[np.float32]], min_score: float
) -> list[tuple[float, float, float, float, float, int]]:
    """One cell, one anchor, one class at a time, as the papers write it."""

    def sigmoid(t: float) -> float:
        return 1 / (1 + math.exp(-t))

    found = []
    for values, head in zip(raw, HEADS, strict=True):
        for a, (anchor_w, anchor_h) in enumerate(head.anchors):
            t = values[a * (5 + CLASSES) : (a + 1) * (5 + CLASSES)].astype(float)
            for i in range(t.shape[1]):
                for j in range(t.shape[2]):
                    s = head.scale_x_y
                    x = (s * sigmoid(t[0, i, j]) - 0.5 * (s - 1) + j) * head.stride
                    y = (s * sigmoid(t[1, i, j]) - 0.5 * (s - 1) + i) * head.stride
                    w = anchor_w * math.exp(t[2, i, j])
                    h = anchor_h * math.exp(t[3, i, j])
                    for c in range(CLASSES):
                        score = sigmoid(t[4, i, j]) * sigmoid(t[5 + c, i, j])
                        if score >= min_score:
                            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                            found.append((*box, score, c))
    return found


@pytest.mark.parametrize("min_score", [0.0, 0.001, 0.25, 0.7])
def test_decoding_agrees_with_a_slow_reference(min_score: float) -> None:
    raw = make_raw(seed=1)

    boxes, scores, class_ids = decode_heads(raw, HEADS, min_score)

    expected = np.array(decode_slowly(raw, min_score))
    assert len(expected) == len(boxes) > 0
    found = np.column_stack([boxes, scores, class_ids])
    order = [np.lexsort((rows[:, 5], rows[:, 1], rows[:, 0])) for rows in (found, expected)]
    np.testing.assert_allclose(found[order[0]], expected[order[1]], rtol=2e-5, atol=1e-3)
    assert [a.dtype.name for a in (boxes, scores, class_ids)] == ["float32", "float32", "int64"]


def test_a_cell_that_exactly_reaches_the_score_is_kept() -> None:
    raw = [np.full_like(values, -50) for values in make_raw(seed=0)]
    raw[2][4:6, 3, 2] = [0.0, 50.0]  # objectness 0.5, class 0 certain

    boxes, scores, class_ids = decode_heads(raw, HEADS, 0.5)

    assert scores.tolist() == [0.5]
    assert class_ids.tolist() == [0]


def test_nothing_found_gives_empty_arrays() -> None:
    raw = [np.full_like(values, -50) for values in make_raw(seed=0)]

    candidates = decode_heads(raw, HEADS, 0.01)

    assert candidates.boxes_xyxy.shape == (0, 4)
    assert clip_detections(candidates, suppress(*candidates), (64, 96)) == []


def test_values_that_are_wild_or_no_numbers_become_no_wild_boxes() -> None:
    raw = make_raw(seed=3)
    for value in (np.nan, np.inf, -np.inf, 3e38):
        for channel in range(5 + CLASSES):
            raw[2][channel, channel % 8, :] = value

    boxes, scores, _ = decode_heads(raw, HEADS, 0.001)

    assert np.isfinite(boxes).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_heads_that_do_not_fit_the_maps_are_refused() -> None:
    raw = make_raw(seed=0)

    with pytest.raises(ValueError, match="2 head maps for 3 heads"):
        decode_heads(raw[:2], HEADS, 0.5)
    with pytest.raises(ValueError, match="10 channels are no 1 anchors|10 channels are no 3"):
        decode_heads([raw[0][:10], *raw[1:]], HEADS, 0.5)


def make_boxes(n: int, seed: int) -> Candidates:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 80, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (n, 2))], axis=1)
    return Candidates(
        boxes.astype(np.float32),
        rng.permutation(np.linspace(0.1, 0.9, n)).astype(np.float32),
        rng.integers(0, 3, n),
    )


def test_suppression_agrees_with_a_slow_reference_when_scores_are_equal() -> None:
    boxes, scores, class_ids = make_boxes(120, seed=5)
    scores = np.round(scores, 1)

    kept = suppress(boxes, scores, class_ids)

    expected: list[int] = []
    for i in sorted(range(120), key=lambda i: (-scores[i], i)):
        if all(class_ids[i] != class_ids[k] or iou(boxes[i], boxes[k]) <= 0.5 for k in expected):
            expected.append(i)
    assert kept.tolist() == expected


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = float(max(w, 0) * max(h, 0))
    return both / float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_no_more_than_max_detections_are_kept_and_they_are_the_best() -> None:
    candidates = make_boxes(200, seed=6)

    kept = suppress(*candidates, max_detections=7)

    assert kept.tolist() == suppress(*candidates).tolist()[:7]


def test_boxes_that_nobody_asked_for_leave_room_for_those_asked_for() -> None:
    others, asked = 400, 5
    left = np.arange(others + asked, dtype=np.float32) * 10
    boxes = np.stack([left, left, left + 8, left + 8], axis=1)
    scores = np.linspace(0.9, 0.3, others + asked, dtype=np.float32)
    class_ids = np.array([0] * others + [1] * asked)

    assert len(suppress(boxes, scores, class_ids)) == 300
    assert suppress(boxes, scores, class_ids, asked=[1]).tolist() == list(range(400, 405))


def test_box_of_a_class_that_nobody_asked_for_still_takes_its_place() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 0, 60, 10]], np.float32)
    scores = np.array([0.9, 0.6, 0.5], np.float32)

    kept = suppress(boxes, scores, np.array([0, 1, 1]), across_threshold=0.8, asked=[1])

    assert kept.tolist() == [2], "the first is a car, and no truck as well"


def test_boxes_are_clipped_to_the_picture_and_dropped_outside_it() -> None:
    candidates = Candidates(
        np.array([[-5, 2, 20, 90], [101, 0, 120, 10], [3, -9, 8, -1]], dtype=np.float32),
        np.array([0.9, 0.8, 0.7], dtype=np.float32),
        np.array([2, 1, 0]),
    )

    detections = clip_detections(candidates, np.arange(3), (50, 100))

    assert detections == [Detection((0.0, 2.0, 20.0, 50.0), 0.9, 2)]
