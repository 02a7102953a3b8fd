"""What operating points are worth to the detector, on a person's own pictures.

    boxes of every point + truth -AP at IoU 0.5, numpy-> mAP50 over the uncompressed pictures'

The truth is the labels beside the pictures; without any, what the detector sees in the uncompressed
pictures, whose mAP50 is then 1. The two answer different questions: what detections are worth, and
what the codec changes in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimcodec.model.manifest import UtilitySource
from slimtrain.calibration.measure import PicturePoints, PointKey
from slimtrain.figures.bootstrap import mean_ap50
from slimtrain.figures.mean_average_precision import Labels, ScoredBoxes, match_at_50, pseudo_labels

_MIN_LABELS = 8  # a class with fewer is left out, if there is one with so many


@dataclass(frozen=True)
class Utilities:
    """mAP50 over that of the uncompressed pictures, of every (level, quality); as measured."""

    source: UtilitySource
    by_point: dict[PointKey, float]
    map50_uncompressed: float
    classes: int  # that it is the mean of
    labels: int  # of them


def measure_utilities(
    pictures: Sequence[PicturePoints], labels: Sequence[Labels] | None
) -> Utilities | None:
    """Score every point against the truth; None where the detector finds nothing of it.

    Args:
        pictures: measured with a detector.
        labels: of each picture; None: nobody said what is in them.
    """
    before = [picture.uncompressed for picture in pictures]
    seen = [boxes for boxes in before if boxes is not None]
    if not seen or len(seen) != len(before):
        return None
    truth = [pseudo_labels(boxes) for boxes in seen] if labels is None else labels
    counts = _count_labels(truth)
    chosen = {c for c, count in counts.items() if count >= _MIN_LABELS} or set(counts)
    truth = [_only(image, chosen) for image in truth]
    map50_uncompressed = _map50(seen, truth)
    if not map50_uncompressed:
        return None
    return Utilities(
        source="uncompressed" if labels is None else "labels",
        by_point={
            point: _map50([picture.found[point] for picture in pictures], truth)
            / map50_uncompressed
            for point in pictures[0].found
        },
        map50_uncompressed=map50_uncompressed,
        classes=len(chosen),
        labels=sum(counts[class_id] for class_id in chosen),
    )


def _map50(found: Sequence[ScoredBoxes], truth: Sequence[Labels]) -> float:
    """0 where there is no label."""
    mean = mean_ap50(match_at_50(found, truth), np.ones((1, len(truth))))[0]
    return 0.0 if np.isnan(mean) else float(mean)


def _only(image: Labels, classes: set[int]) -> Labels:
    kept = np.isin(image.class_ids, list(classes))
    return Labels(image.boxes_xyxy[kept], image.class_ids[kept], image.is_ignored[kept])


def _count_labels(truth: Sequence[Labels]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for image in truth:
        for class_id in image.class_ids[~image.is_ignored].tolist():
            counts[class_id] = counts.get(class_id, 0) + 1
    return counts
