"""Mean average precision of detections against labels.

    detections, labels -match_boxes-> ClassMatches -mean_ap-> mAP, also of draws of pictures

It is COCO's, to the ninth digit (a test holds it against pycocotools), in numpy alone: matches are
kept by picture, so that a bootstrap can score any draw of the pictures, which pycocotools cannot,
and a camera's device measures as the trainer does.

Source: COCO's evaluation, https://cocodataset.org/#detection-eval: greedy matching by score, 101
recall points, at most 100 detections an image; classes without a label do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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
)

# detections below this score are not made; the precision-recall curve needs the low ones
MIN_SCORE = 0.001
MEASURED = Wanted(MIN_SCORE, raw=True)
# without labels, the uncompressed picture's detections from this score on serve as labels
PSEUDO_LABEL_SCORE = 0.3
MAX_DETECTIONS = 100
MIN_LABELS = 8  # a class with fewer in all pictures is not a frequent one: its figure is noise
IOUS = np.linspace(0.5, 0.95, 10)  # that COCO's mAP is the mean of
_RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ScoredBoxes:
    """Detections of one image: (n, 4) corners in pixels, (n,) scores, (n,) classes."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    @classmethod
    def of(cls, detections: Sequence[Detection]) -> Self:
        """What the serving stack found in a picture."""
        return cls(
            np.asarray([found.box_xyxy for found in detections], np.float32).reshape(-1, 4),
            np.asarray([found.score for found in detections], np.float32),
            np.asarray([found.class_id for found in detections], np.int64),
        )


@dataclass(frozen=True)
class Labels:
    """Labels of one image: (n, 4) corners in pixels, (n,) classes, (n,) whether to ignore."""

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    is_ignored: NDArray[np.bool_]


def labels_of(boxes: Boxes, image_hw: tuple[int, int]) -> Labels:
    """Labels in pixels from normalised boxes; unsure teacher boxes are ignored."""
    h, w = image_hw
    return Labels(
        boxes_xyxy=box_corners(boxes) * np.asarray([w, h, w, h], np.float32),
        class_ids=boxes[:, 0].astype(np.int64),
        is_ignored=boxes[:, BOX_FIELDS - 1] < POSITIVE_CONFIDENCE,
    )


def pseudo_labels(seen: ScoredBoxes, min_score: float = PSEUDO_LABEL_SCORE) -> Labels:
    """What a detector is sure of in an uncompressed picture, where nobody labelled it."""
    sure = seen.scores >= min_score
    return Labels(
        boxes_xyxy=seen.boxes_xyxy[sure],
        class_ids=seen.class_ids[sure],
        is_ignored=np.zeros(int(sure.sum()), np.bool_),
    )


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class on all images, best first, and whether each hit a label.
    Matching is by image, so any sample of the images can be scored from this.
    """

    class_id: int
    image_ids: NDArray[np.int64]  # (n,)
    is_hit: NDArray[np.bool_]  # (n,)
    num_labels: NDArray[np.int64]  # (images,)
    scores: NDArray[np.float32]  # (n,)

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AP of samples of the images: (samples, images) how often each occurs -> (samples,);
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


def mean_ap(
    matches: Sequence[ClassMatches],
    min_labels: int = 1,
    draws: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """mAP of each draw, over the classes that occur in it: (draws,); NaN where there is no class.

    Args:
        min_labels: only classes with so many labels in all pictures.
        draws: (draws, pictures) how often each picture occurs; None: one draw, each once.
    """
    chosen = [m for m in matches if m.num_labels.sum() >= min_labels]
    if not chosen:
        return np.full(1 if draws is None else len(draws), np.nan)
    if draws is None:
        draws = np.ones((1, len(chosen[0].num_labels)))
    ap = np.stack([m.average_precision(draws) for m in chosen])  # (classes, draws)
    occurs = ~np.isnan(ap)
    mean: NDArray[np.float64] = np.where(occurs, ap, 0).sum(axis=0) / np.maximum(occurs.sum(0), 1)
    return mean


def match_boxes(
    detections: Sequence[ScoredBoxes], labels: Sequence[Labels], iou: float = 0.5
) -> list[ClassMatches]:
    """Matches of every class that has a label; the two lists run in parallel."""
    return [match_class(class_id, detections, labels, iou) for class_id in count_labels(labels)]


def count_labels(labels: Sequence[Labels]) -> dict[int, int]:
    """Labels of each class that has any, by class; those that are ignored do not count."""
    class_ids = [image.class_ids[~image.is_ignored] for image in labels]
    found, counts = np.unique(np.concatenate([*class_ids, []]), return_counts=True)
    return dict(zip(map(int, found), map(int, counts), strict=True))


def match_class(
    class_id: int, detections: Sequence[ScoredBoxes], labels: Sequence[Labels], iou: float = 0.5
) -> ClassMatches:
    """Matches of one class, which need not have a label; the two lists run in parallel."""
    matches = [
        _match_image(*image, class_id, iou) for image in zip(detections, labels, strict=True)
    ]
    scores = np.concatenate([*(of_image for of_image, _ in matches), np.zeros(0, np.float32)])
    is_hit = np.concatenate([*(of_image for _, of_image in matches), np.zeros(0, np.bool_)])
    counts = np.asarray([len(hits) for _, hits in matches], np.int64)
    image_ids = np.repeat(np.arange(len(matches)), counts)
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
    found: ScoredBoxes, truth: Labels, class_id: int, iou: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores, best first, and hits of a class on an image, but for those on an ignored label."""
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
        if free.max() >= iou:
            is_taken[free.argmax()] = True
            is_hit[rank] = True
    counts = is_hit | ~(is_ignored & (overlap >= iou)).any(axis=1)
    return scores[counts], is_hit[counts]
