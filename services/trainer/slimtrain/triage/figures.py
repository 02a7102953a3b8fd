"""How well scores tell pictures with a thing from pictures without: AUC, recall, average precision.

Everything takes `scores` (n,) and `truth` (n,) bool, and needs at least one of each kind.
"""

import numpy as np
from numpy.typing import NDArray

from slimdetect.triage import OperatingChoice

Scores = NDArray[np.float32]
Truth = NDArray[np.bool_]


def area_under_roc(scores: Scores, truth: Truth) -> float:
    """The chance that a picture with the thing scores above one without; ties count half."""
    values, place = np.unique(scores, return_inverse=True)
    positives = np.bincount(place[truth], minlength=len(values))
    negatives = np.bincount(place[~truth], minlength=len(values))
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / (truth.sum() * (~truth).sum()))


def average_precision(scores: Scores, truth: Truth) -> float:
    """Mean over the pictures with the thing of the precision at their score."""
    order = np.argsort(-scores, kind="stable")
    hits = truth[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def choose_threshold(scores: Scores, truth: Truth, recall: float) -> float:
    """The highest threshold that keeps at least this part of the pictures with the thing."""
    kept = int(np.ceil(recall * truth.sum() - 1e-9))
    return float(np.sort(scores[truth])[::-1][kept - 1])


def measure_threshold(scores: Scores, truth: Truth, threshold: float) -> OperatingChoice:
    """What a threshold does on pictures that it was not chosen on."""
    passes = scores >= threshold
    return OperatingChoice(
        threshold=threshold,
        recall=float(passes[truth].mean()),
        false_positive_rate=float(passes[~truth].mean()),
    )
