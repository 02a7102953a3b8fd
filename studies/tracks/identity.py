"""Tracks against true ones: IDF1 and identity switches.

Source: Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking,
2016, section 3, https://arxiv.org/abs/1609.01775, for IDF1; Bernardin and Stiefelhagen, Evaluating
Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008, section 2.1.4, for switches.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from slimcloud.tracks.motion import Box
from slimcloud.tracks.tracker import iou

MIN_IOU = 0.5  # of a box with a true one that it may stand for

NamedBoxes = Mapping[int, Box]  # of one frame: by the name of the object


@dataclass(frozen=True)
class Identity:
    """Of all frames of one video."""

    idf1: float  # 0 to 1
    switches: int  # how often a true object's name changed
    objects: int  # true ones
    tracks: int
    recall: float  # boxes of true objects that were found under whatever name, 0 to 1
    precision: float


def measure(true: Sequence[NamedBoxes], told: Sequence[NamedBoxes]) -> Identity:
    """Compare frame by frame what is true with what was told."""
    together: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    switches = matched = 0
    for truth, found in zip(true, told, strict=True):
        overlap = {(a, b): iou(truth[a], found[b]) for a in truth for b in found}
        together.update(pair for pair, value in overlap.items() if value >= MIN_IOU)
        for a, b in match(truth, found, overlap, last):
            switches += last.get(a, b) != b
            last[a] = b
            matched += 1
    true_boxes, told_boxes = sum(map(len, true)), sum(map(len, told))
    objects = sorted({name for frame in true for name in frame})
    tracks = sorted({name for frame in told for name in frame})
    shared = np.array([[together[a, b] for b in tracks] for a in objects])
    best = int(shared[linear_sum_assignment(-shared)].sum()) if shared.size else 0
    return Identity(
        idf1=2 * best / max(1, true_boxes + told_boxes),
        switches=switches,
        objects=len(objects),
        tracks=len(tracks),
        recall=matched / max(1, true_boxes),
        precision=matched / max(1, told_boxes),
    )


def match(
    truth: NamedBoxes,
    found: NamedBoxes,
    overlap: Mapping[tuple[int, int], float],
    last: Mapping[int, int],
) -> list[tuple[int, int]]:
    """Pairs of one frame: those of the last frame that still overlap enough, then the best."""
    pairs = [(a, last[a]) for a in truth if overlap.get((a, last.get(a, 0)), 0) >= MIN_IOU]
    kept_true, kept_found = {a for a, _ in pairs}, {b for _, b in pairs}
    free_true = [a for a in truth if a not in kept_true]
    free_found = [b for b in found if b not in kept_found]
    if free_true and free_found:
        values = np.array([[overlap[a, b] for b in free_found] for a in free_true])
        rows, columns = linear_sum_assignment(-np.where(values >= MIN_IOU, values, 0))
        pairs += [
            (free_true[row], free_found[column])
            for row, column in zip(rows, columns, strict=True)
            if values[row, column] >= MIN_IOU
        ]
    return pairs
