"""Raw YOLOv3 head maps -> boxes with scores, and the suppression of doubles.

```
raw (A * (5 + C), h, w) -objectness passes?-> few cells -sigmoid, exp-> boxes -suppress-> kept
```
Only cells whose objectness alone reaches the wanted score are decoded: usually a few in a thousand.
Source: Redmon and Farhadi, YOLOv3, 2018, section 2.1, https://arxiv.org/abs/1804.02767; and for
`scale_x_y` Bochkovskiy et al., YOLOv4, 2020, section 3.4, https://arxiv.org/abs/2004.10934; for
`new_coords` Wang et al., Scaled-YOLOv4, CVPR 2021, https://arxiv.org/abs/2011.08036.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from slimcodec.detection import Detection

# exp(16) times the largest anchor is beyond every picture; a wild value must not become infinity.
_MAX_LOG_SIDE = 16.0
_SUPPRESSION_BLOCK = 128  # boxes; 20,000 candidates take 10-14 ms, with 512 up to 47 ms (2 cores)
_MAX_KEPT = 3000  # boxes, of those that are asked for and others: bounds what a noisy picture takes
_MAX_LOGIT = 80.0  # exp(80) is still finite in float32
NO_IOU = 2.0  # more than any two boxes overlap


class HeadLayout(Protocol):
    """How one raw map is to be read; `anchors` are (width, height) in pixels."""

    @property
    def stride(self) -> int: ...
    @property
    def anchors(self) -> Sequence[Sequence[float]]: ...
    @property
    def scale_x_y(self) -> float: ...
    @property
    def new_coords(self) -> bool: ...


class Candidates(NamedTuple):
    """Boxes in pixels of the padded picture (n, 4), scores in [0, 1] (n,), class numbers (n,)."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def decode_heads(
    raw: Sequence[NDArray[np.float32]],
    heads: Sequence[HeadLayout],
    min_score: float,
) -> Candidates:
    """Give all boxes whose score, objectness times class probability, reaches `min_score`: one for
    every class that does.

    Args:
        raw: one (A * (5 + C), h, w) map per head of one picture; an anchor has x, y, w, h,
            objectness, classes.
        heads: stride, anchors, scale_x_y and new_coords of each map, in the same order.
        min_score: in [0, 1].
    """
    if len(raw) != len(heads):
        raise ValueError(f"{len(raw)} head maps for {len(heads)} heads")
    parts = [_decode_head(values, head, min_score) for values, head in zip(raw, heads, strict=True)]
    return Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def suppress(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    iou_threshold: float = 0.5,
    max_detections: int = 300,
    across_threshold: float = NO_IOU,
    asked: Sequence[int] = (),
    kinds: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Give the indices that greedy non-maximum suppression keeps, highest score first; of the
    classes that are asked for, where some are. Boxes of others take their places all the same.

    A box goes when it overlaps a kept box of its class by more than `iou_threshold`, or one of any
    other class by more than `across_threshold`. With `kinds` (C,), a number for each class, those
    of one number are as one class. Equal scores keep their order, so the result depends on nothing
    but the arguments.
    """
    taken_as = class_ids if kinds is None else kinds[class_ids]
    order = np.argsort(-scores, kind="stable")
    limits = (iou_threshold, across_threshold)
    kept = given = np.empty(0, dtype=np.int64)
    # Block by block, highest scores first: few blocks are needed to find `max_detections` boxes,
    # and no block is compared with more than itself and the boxes that are kept.
    for start in range(0, len(order), _SUPPRESSION_BLOCK):
        block = order[start : start + _SUPPRESSION_BLOCK]
        by_kept = _doubles(boxes_xyxy, taken_as, kept, block, limits).any(axis=0)
        block = block[~by_kept]
        doubles = _doubles(boxes_xyxy, taken_as, block, block, limits)
        alive = np.ones(len(block), dtype=bool)
        for i in range(len(block)):
            if alive[i]:
                alive[i + 1 :] &= ~doubles[i, i + 1 :]
        kept = np.concatenate([kept, block[alive]])
        given = kept[np.isin(class_ids[kept], asked)] if asked else kept
        if len(given) >= max_detections or len(kept) >= _MAX_KEPT:
            break
    return given[:max_detections]


def _doubles(
    boxes_xyxy: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    limits: tuple[float, float],
) -> NDArray[np.bool_]:
    """Whether box first[i] and box second[j] overlap too much, as (i, j): by more than limits[0] if
    they are of one class, and limits[1] if they are not.
    """
    a, b = boxes_xyxy[first, np.newaxis], boxes_xyxy[np.newaxis, second]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.prod(np.maximum(sides, 0), axis=-1)
    area_a, area_b = (np.prod(np.maximum(x[..., 2:] - x[..., :2], 0), axis=-1) for x in (a, b))
    same_class = class_ids[first, np.newaxis] == class_ids[np.newaxis, second]
    limit = np.where(same_class, *limits)
    doubles: NDArray[np.bool_] = intersection > limit * (area_a + area_b - intersection)
    return doubles


def clip_detections(
    candidates: Candidates,
    keep: NDArray[np.int64],
    image_hw: tuple[int, int],
    names: Sequence[str] = (),
) -> list[Detection]:
    """Give the kept boxes, clipped to the original image; those wholly outside are dropped.

    To a hundredth of a pixel and scores to four digits: the rest is noise, and a third of the bytes
    of a stored result.

    Args:
        names: labels by class number; without, the boxes have none.
    """
    h, w = image_hw
    limits = np.array([w, h, w, h], dtype=np.float32)
    boxes = np.clip(candidates.boxes_xyxy[keep], 0, limits).astype(np.float64).round(2)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return [
        Detection((x_min, y_min, x_max, y_max), score, class_id, names[class_id] if names else "")
        for (x_min, y_min, x_max, y_max), score, class_id in zip(
            boxes[inside].tolist(),
            candidates.scores[keep][inside].astype(np.float64).round(4).tolist(),
            candidates.class_ids[keep][inside].tolist(),
            strict=True,
        )
    ]


def _decode_head(values: NDArray[np.float32], head: HeadLayout, min_score: float) -> Candidates:
    anchors = np.asarray(head.anchors, dtype=np.float32)  # (A, 2)
    channels, h, w = values.shape
    if channels % len(anchors) or channels // len(anchors) < 6:
        raise ValueError(f"{channels} channels are no {len(anchors)} anchors of 5 + classes values")
    maps = values.reshape(len(anchors), -1, h * w)  # (A, 5 + C, h * w)
    # NaN compares as false and so never becomes a box.
    least = min_score if head.new_coords else _logit(min_score)
    anchor_ids, cells = np.nonzero(maps[:, 4] >= least)
    t = maps[anchor_ids, :, cells].astype(np.float32, copy=False)  # (n, 5 + C)
    p = t if head.new_coords else _sigmoid(t)

    scores = p[:, 4:5] * p[:, 5:]  # (n, C)
    rows, class_ids = np.nonzero(scores >= min_score)
    s = np.float32(head.scale_x_y)
    grid = np.stack([cells % w, cells // w], axis=1).astype(np.float32)
    centre = (p[:, :2] * s - (s - 1) / 2 + grid) * np.float32(head.stride)
    if head.new_coords:
        sides = np.square(2 * t[:, 2:4])  # in anchors
    else:
        sides = np.exp(np.minimum(t[:, 2:4], _MAX_LOG_SIDE))
    half_side = sides * anchors[anchor_ids] / 2
    boxes = np.concatenate([centre - half_side, centre + half_side], axis=1)[rows]
    finite = np.isfinite(boxes).all(axis=1)
    return Candidates(
        boxes[finite],
        scores[rows, class_ids][finite],
        class_ids[finite].astype(np.int64, copy=False),
    )


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    held: NDArray[np.float32] = np.clip(x, -_MAX_LOGIT, _MAX_LOGIT)
    y: NDArray[np.float32] = np.reciprocal(np.exp(-held) + np.float32(1))
    return y


def _logit(probability: float) -> float:
    if probability <= 0.0:
        return -math.inf
    probability = min(probability, 1 - 1e-7)
    # A little below, so that rounding loses no box that just reaches the score.
    return math.log(probability / (1 - probability)) - 1e-5
