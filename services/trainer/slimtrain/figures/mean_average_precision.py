"""Mean average precision of detections against labels, by pycocotools.

`mean_average_precision` gives the figures that are reported. `average_precision_50` computes AP at
IoU 0.5 with numpy alone, for watching a training run on a machine without pycocotools; a test holds
the two together.

Source: COCO's evaluation, https://cocodataset.org/#detection-eval: greedy matching by score, 101
recall points, at most 100 detections an image; classes without a label do not count.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimtrain.data.pictures import BOX_FIELDS, POSITIVE_CONFIDENCE, Boxes, box_iou

MIN_SCORE = 0.001
"""Detections below this score are not made; the precision-recall curve needs the low ones."""
PSEUDO_LABEL_SCORE = 0.3
"""Without labels, the uncompressed picture's detections from this score on serve as labels."""
MAX_DETECTIONS = 100
_RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ScoredBoxes:
    """Detections of one image: (n, 4) corners in pixels, (n,) scores, (n,) classes."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Labels of one image: (n, 4) corners in pixels, (n,) classes, (n,) whether a match neither
    helps nor harms.
    """

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    is_ignored: NDArray[np.bool_]


@dataclass(frozen=True)
class AveragePrecision:
    """`map50` over the classes that have labels; `map` over IoU 0.50-0.95; None where nothing is
    labelled.
    """

    map50: float | None
    map: float | None
    ap50_by_class: dict[int, float]
    labels_by_class: dict[int, int]

    def mean_of(self, min_labels: int) -> float | None:
        """map50 over the classes with at least `min_labels` labels."""
        values = [
            ap50
            for class_id, ap50 in self.ap50_by_class.items()
            if self.labels_by_class[class_id] >= min_labels
        ]
        return float(np.mean(values)) if values else None


def labels_of(boxes: Boxes, image_hw: tuple[int, int]) -> Labels:
    """Labels in pixels from normalised boxes; unsure teacher boxes are ignored."""
    h, w = image_hw
    half = boxes[:, 3:5] / 2
    corners = np.concatenate([boxes[:, 1:3] - half, boxes[:, 1:3] + half], axis=1)
    return Labels(
        boxes_xyxy=(corners * np.asarray([w, h, w, h], np.float32)).astype(np.float32),
        class_ids=boxes[:, 0].astype(np.int64),
        is_ignored=boxes[:, BOX_FIELDS - 1] < POSITIVE_CONFIDENCE,
    )


def pseudo_labels(seen: ScoredBoxes) -> Labels:
    """What a detector is sure of in an uncompressed picture, where nobody labelled it."""
    sure = seen.scores >= PSEUDO_LABEL_SCORE
    return Labels(
        boxes_xyxy=seen.boxes_xyxy[sure],
        class_ids=seen.class_ids[sure],
        is_ignored=np.zeros(int(sure.sum()), np.bool_),
    )


def mean_average_precision(
    detections: Sequence[ScoredBoxes], labels: Sequence[Labels]
) -> AveragePrecision:
    """The figures of a set of images; the two lists run in parallel."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    counts = _count_labels(labels)
    if not counts:
        return AveragePrecision(None, None, {}, {})
    annotations = [
        {
            "id": 0,
            "image_id": image_id,
            "category_id": int(class_id),
            "bbox": _to_xywh(box),
            "area": _area(box),
            "iscrowd": int(is_ignored),
        }
        for image_id, image in enumerate(labels)
        for box, class_id, is_ignored in zip(
            image.boxes_xyxy, image.class_ids, image.is_ignored, strict=True
        )
    ]
    for number, annotation in enumerate(
        annotations, start=1
    ):  # pycocotools takes id 0 for unmatched
        annotation["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image_id} for image_id in range(len(labels))],
            "annotations": annotations,
            "categories": [{"id": class_id} for class_id in sorted(counts)],
        }
        truth.createIndex()
        found = COCO()
        found.dataset = {
            "images": truth.dataset["images"],
            "categories": truth.dataset["categories"],
            "annotations": _result_annotations(detections, set(counts)),
        }
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # (IoU, recall, class, area, max detections)
    ap_by_class = {
        class_id: precision[:, :, k, 0, -1].mean(axis=1)
        for k, class_id in enumerate(evaluation.params.catIds)
    }
    ap50 = {class_id: float(ap[0]) for class_id, ap in ap_by_class.items()}
    return AveragePrecision(
        map50=float(np.mean(list(ap50.values()))),
        map=float(np.mean([ap.mean() for ap in ap_by_class.values()])),
        ap50_by_class=ap50,
        labels_by_class=counts,
    )


def average_precision_50(
    detections: Sequence[ScoredBoxes], labels: Sequence[Labels]
) -> AveragePrecision:
    """AP at IoU 0.5 with numpy alone; `map` is None."""
    counts = _count_labels(labels)
    matches = match_at_50(detections, labels)
    ap50 = {m.class_id: float(m.average_precision(np.ones((1, len(labels))))[0]) for m in matches}
    map50 = float(np.mean(list(ap50.values()))) if ap50 else None
    return AveragePrecision(map50, None, ap50, counts)


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class on all images, best first, and whether each hit a label at IoU
    0.5. Matching is by image, so any sample of the images can be scored from this.
    """

    class_id: int
    image_ids: NDArray[np.int64]  # (n,)
    is_hit: NDArray[np.bool_]  # (n,)
    num_labels: NDArray[np.int64]  # (images,)

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AP50 of samples of the images: (samples, images) how often each occurs -> (samples,);
        NaN for a sample without a label of this class.
        """
        wanted = weights @ self.num_labels
        ap = np.where(wanted > 0, 0.0, np.nan)
        if not len(self.image_ids):
            return ap
        occurs = weights[:, self.image_ids]  # (samples, n)
        true_positives = np.cumsum(occurs * self.is_hit, axis=1)
        precision = true_positives / np.maximum(np.cumsum(occurs, axis=1), 1e-9)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for sample in np.flatnonzero(wanted > 0):
            recall = true_positives[sample] / wanted[sample]
            at = np.searchsorted(recall, _RECALL_POINTS, side="left")
            found = at < len(recall)
            ap[sample] = precision[sample, at[found]].sum() / len(_RECALL_POINTS)
        return ap


def match_at_50(detections: Sequence[ScoredBoxes], labels: Sequence[Labels]) -> list[ClassMatches]:
    """Matches of every class that has a label; the two lists run in parallel."""
    classes = list(_count_labels(labels))
    scores: dict[int, list[NDArray[np.float32]]] = {class_id: [] for class_id in classes}
    hits: dict[int, list[NDArray[np.bool_]]] = {class_id: [] for class_id in classes}
    images: dict[int, list[int]] = {class_id: [] for class_id in classes}
    for image_id, (found, truth) in enumerate(zip(detections, labels, strict=True)):
        for class_id in set(found.class_ids.tolist()) & set(classes):
            image_scores, image_hits = _match_image(found, truth, class_id)
            scores[class_id].append(image_scores)
            hits[class_id].append(image_hits)
            images[class_id] += [image_id] * len(image_scores)
    result: list[ClassMatches] = []
    for class_id in classes:
        order = np.argsort(-np.concatenate([*scores[class_id], np.zeros(0)]), kind="stable")
        result.append(
            ClassMatches(
                class_id=class_id,
                image_ids=np.asarray(images[class_id], np.int64)[order],
                is_hit=np.concatenate([*hits[class_id], np.zeros(0, np.bool_)])[order],
                num_labels=np.asarray(
                    [((t.class_ids == class_id) & ~t.is_ignored).sum() for t in labels], np.int64
                ),
            )
        )
    return result


def _match_image(
    found: ScoredBoxes, truth: Labels, class_id: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores, best first, and hits of one class on one image, without those that fell on an
    ignored label.
    """
    top = np.argsort(-found.scores, kind="stable")
    mine = top[found.class_ids[top] == class_id][:MAX_DETECTIONS]
    wanted = truth.class_ids == class_id
    is_hit = np.zeros(len(mine), np.bool_)
    if not wanted.any():
        return found.scores[mine], is_hit
    is_ignored = truth.is_ignored[wanted]
    boxes = found.boxes_xyxy[mine]
    iou = box_iou(boxes, truth.boxes_xyxy[wanted])  # (n, labels)
    inside = _share_inside(boxes, truth.boxes_xyxy[wanted])
    is_taken = np.zeros(len(is_ignored), np.bool_)
    for rank in range(len(mine)):
        free = np.where(is_taken | is_ignored, -1.0, iou[rank])
        if free.max() >= 0.5:
            is_taken[free.argmax()] = True
            is_hit[rank] = True
    counts = is_hit | ~(is_ignored & (inside >= 0.5)).any(axis=1)
    return found.scores[mine][counts], is_hit[counts]


def _count_labels(labels: Sequence[Labels]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for image in labels:
        for class_id in image.class_ids[~image.is_ignored]:
            counts[int(class_id)] = counts.get(int(class_id), 0) + 1
    return dict(sorted(counts.items()))


def _share_inside(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Part of each box that lies within each region: (n, 4), (m, 4) -> (n, m)."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=-1), 1e-9)
    share: NDArray[np.float32] = np.clip(high - low, 0, None).prod(axis=-1) / area[:, None]
    return share


def _result_annotations(
    detections: Sequence[ScoredBoxes], classes: set[int]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for image_id, found in enumerate(detections):
        for box, score, class_id in zip(
            found.boxes_xyxy, found.scores, found.class_ids, strict=True
        ):
            if int(class_id) in classes:
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": image_id,
                        "category_id": int(class_id),
                        "bbox": _to_xywh(box),
                        "area": _area(box),
                        "score": float(score),
                        "iscrowd": 0,
                    }
                )
    return rows


def _to_xywh(box: NDArray[np.float32]) -> list[float]:
    x_min, y_min, x_max, y_max = (float(value) for value in box)
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _area(box: NDArray[np.float32]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
