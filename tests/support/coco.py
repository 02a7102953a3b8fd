"""Average precision by pycocotools: the reference that ours is held against."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from slimtrain.data.pictures import box_xywh
from slimtrain.figures.mean_average_precision import Labels, ScoredBoxes, count_labels


@dataclass(frozen=True)
class CocoFigures:
    """AP at IoU 0.5 of each class that has a label, their mean, and the mean over all ten IoUs."""

    ap50_by_class: dict[int, float]
    map50: float
    map: float


def coco_figures(detections: Sequence[ScoredBoxes], labels: Sequence[Labels]) -> CocoFigures:
    """Figures of a set of images; the two lists run in parallel."""
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
            "categories": [{"id": class_id} for class_id in count_labels(labels)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # (IoU, recall, class)
    ap = precision.mean(axis=1)  # (IoU, class)
    by_class = dict(zip(evaluation.params.catIds, ap[0].tolist(), strict=True))
    return CocoFigures(by_class, float(ap[0].mean()), float(ap.mean()))
