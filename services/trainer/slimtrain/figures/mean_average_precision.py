"""Mean average precision of detections against labels.

`mean_average_precision` gives the figures that are reported, by pycocotools. `match_at_50` matches
at IoU 0.5 with numpy alone: for samples of the pictures, for watching a run, and on a device that
has no pycocotools. A test holds the two together.

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

from slimcodec.detection import Detection
from slimdetect.scores import Wanted
from slimtrain.data.pictures import (
    BOX_FIELDS,
    POSITIVE_CONFIDENCE,
    Boxes,
    box_corners,
    box_overlap,
    box_xywh,
)

# detections below this score are not made; the precision-recall curve needs the low ones
MIN_SCORE = 0.001
MEASURED = Wanted(MIN_SCORE, raw=True)
# without labels, the uncompressed picture's detections from this score on serve as labels
PSEUDO_LABEL_SCORE = 0.3
MAX_DETECTIONS = 100
MIN_LABELS = 8  # a class with fewer in all pictures is not a frequent one: its figure is noise
_RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ScoredBoxes:
    """Detections of one image: (n, 4) corners in pixels, (n,) scores, (n,) classes."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    @classmethod
    def of(cls, detections: Sequence[Detection]) -> ScoredBoxes:
        """What the serving stack found in a picture."""
        return cls(
            np.asarray([found.box_xyxy for found in detections], np.float32).reshape(-1, 4),
            np.asarray([found.score for found in detections], np.float32),
            np.asarray([found.class_id for found in detections], np.int64),
        )


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

    def mean_of(self, min_labels: int = MIN_LABELS) -> float | None:
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
    return Labels(
        boxes_xyxy=box_corners(boxes) * np.asarray([w, h, w, h], np.float32),
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

    counts = count_labels(labels)
    if not counts:
        return AveragePrecision(None, None, {}, {})
    boxes = (
        (image_id, *label)
        for image_id, image in enumerate(labels)
        for label in zip(box_xywh(image.boxes_xyxy), image.class_ids, image.is_ignored, strict=True)
    )
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": int(class_id),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": int(is_ignored),
        }
        for number, (image_id, box, class_id, is_ignored) in enumerate(boxes, start=1)
    ]
    results = np.concatenate(
        [
            np.column_stack(
                [np.full(len(d.scores), image_id), box_xywh(d.boxes_xyxy), d.scores, d.class_ids]
            )
            for image_id, d in enumerate(detections)
        ]
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image_id} for image_id in range(len(labels))],
            "annotations": annotations,
            "categories": [{"id": class_id} for class_id in counts],
        }
        truth.createIndex()
        found = truth.loadRes(results) if len(results) else COCO()
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
    matches = match_at_50(detections, labels)
    ap50 = {m.class_id: float(m.average_precision(np.ones((1, len(labels))))[0]) for m in matches}
    map50 = float(np.mean(list(ap50.values()))) if ap50 else None
    return AveragePrecision(map50, None, ap50, count_labels(labels))


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class on all images, best first, and whether each hit a label at IoU
    0.5. Matching is by image, so any sample of the images can be scored from this.
    """

    class_id: int
    image_ids: NDArray[np.int64]  # (n,)
    is_hit: NDArray[np.bool_]  # (n,)
    num_labels: NDArray[np.int64]  # (images,)
    scores: NDArray[np.float32]  # (n,)

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
    return [_match_class(class_id, detections, labels) for class_id in count_labels(labels)]


def count_labels(labels: Sequence[Labels]) -> dict[int, int]:
    """Labels of each class that has any, by class; those that are ignored do not count."""
    class_ids = [image.class_ids[~image.is_ignored] for image in labels]
    found, counts = np.unique(np.concatenate([*class_ids, []]), return_counts=True)
    return dict(zip(map(int, found), map(int, counts), strict=True))


def _match_class(
    class_id: int, detections: Sequence[ScoredBoxes], labels: Sequence[Labels]
) -> ClassMatches:
    matches = [_match_image(*image, class_id) for image in zip(detections, labels, strict=True)]
    scores = np.concatenate([image_scores for image_scores, _ in matches])
    is_hit = np.concatenate([image_hits for _, image_hits in matches])
    image_ids = np.repeat(np.arange(len(matches)), [len(hits) for _, hits in matches])
    order = np.argsort(-scores, kind="stable")
    num_labels = [((image.class_ids == class_id) & ~image.is_ignored).sum() for image in labels]
    return ClassMatches(
        class_id,
        image_ids[order],
        is_hit[order],
        np.asarray(num_labels, np.int64),
        scores[order],
    )


def _match_image(
    found: ScoredBoxes, truth: Labels, class_id: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores, best first, and hits of one class on one image, without those that fell on an
    ignored label.
    """
    mine = np.flatnonzero(found.class_ids == class_id)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MAX_DETECTIONS]
    scores, boxes = found.scores[mine], found.boxes_xyxy[mine]
    is_hit = np.zeros(len(mine), np.bool_)
    wanted = truth.class_ids == class_id
    if not len(mine) or not wanted.any():
        return scores, is_hit
    is_ignored, label_boxes = truth.is_ignored[wanted], truth.boxes_xyxy[wanted]
    overlap = box_overlap(boxes, label_boxes, is_ignored)  # (n, labels)
    is_taken = np.zeros(len(is_ignored), np.bool_)
    for rank in range(len(mine)):
        free = np.where(is_taken | is_ignored, -1.0, overlap[rank])
        if free.max() >= 0.5:
            is_taken[free.argmax()] = True
            is_hit[rank] = True
    counts = is_hit | ~(is_ignored & (overlap >= 0.5)).any(axis=1)
    return scores[counts], is_hit[counts]
