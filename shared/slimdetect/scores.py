"""What scores mean and which boxes are wanted: the one place that decides it.

    raw score s of class c -1 / (1 + exp(-(slope_c * logit(s) + offset_c)))-> score -least_c-> box

A calibrated score is the part of such boxes that is right, whatever their class. With a model's
thresholds 0.7 of the boxes shown of each class are right, as `slimwire detector calibrate` measures
it. A class that never gets there has no threshold and is not shown unless asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import ModelError
from slimcodec.model.manifest import ClassScore
from slimdetect.boxes import NO_IOU, Candidates

# of a model without thresholds, and of a class without one that is asked for by name
MIN_SCORE = 0.25
# Two boxes that overlap more are one object with two names. A person and the bicycle below overlap
# by up to 0.7, one before a car by less.
IOU_ACROSS_CLASSES = 0.8
# These are suppressed as one class, for a van is not car and truck. In 1,300 frames of 21 videos 26
# pairs of them overlap by 0.4 or more, each of them one object: 0.8 leaves 14, this leaves 2.
_ONE_KIND = ("car", "bus", "truck")
_EPSILON = 1e-7  # keeps the logit of a float32 finite


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which boxes are asked for."""

    # of every class, those too that are not shown by themselves; None: the model's thresholds, or
    # 0.25 where it has none
    min_score: float | None = None
    # only boxes of these; one without a threshold is shown from 0.25 on. Empty: all
    labels: tuple[str, ...] = ()
    # the tail's own scores, and also boxes whose place a better one of another class has, as a
    # precision-recall curve and a calibration need them
    raw: bool = False


SHOWN = Wanted()  # what a model shows by itself


class Scores:
    """Calibration and thresholds of one model's boxes.

    Raises:
        ModelError: the manifest is of another number of classes.
    """

    def __init__(self, said: Sequence[ClassScore], names: Sequence[str]) -> None:
        if said and len(said) != len(names):
            raise ModelError(f"scores of {len(said)} classes; the detector has {len(names)}")
        self._names = tuple(names)
        self._line = np.array([(c.slope, c.offset) for c in said], np.float32)  # (C, 2), or (0,)
        thresholds = [np.inf if c.threshold is None else c.threshold for c in said]
        self._thresholds = np.array(thresholds or [MIN_SCORE] * len(names), np.float32)
        # IoU over which the better of two boxes of different classes stays alone. Only calibrated
        # scores say which that is: a raw 0.5 of one class may be worth a 0.3 of another.
        self.iou_across = IOU_ACROSS_CLASSES if said else NO_IOU
        self.kinds = np.arange(len(names))  # (C,), of `suppress`
        if said:
            alike = [class_id for class_id, name in enumerate(names) if name in _ONE_KIND]
            self.kinds[alike] = alike[:1]

    def least(self, wanted: Wanted) -> NDArray[np.float32]:
        """From which score on a box of each class takes part, (C,); infinite: none does.

        Raises:
            ModelError: the detector knows no such label.
        """
        asked = class_ids_of(wanted.labels, self._names)
        if wanted.min_score is not None:
            return np.full_like(self._thresholds, wanted.min_score)
        least = self._thresholds.copy()
        least[asked] = np.where(np.isinf(least[asked]), np.float32(MIN_SCORE), least[asked])
        return least

    def lowest(self, wanted: Wanted) -> float:
        """The score below which no box is given, 0 to 1."""
        asked = class_ids_of(wanted.labels or self._names, self._names)
        return min(1.0, round(float(self.least(wanted)[asked].min()), 6))

    def raw_floor(self, least: NDArray[np.float32]) -> float:
        """The least raw score that can reach `least`, (C,), in some class."""
        if not len(self._line):
            return float(least.min())
        wanted = np.isfinite(least)
        slope, offset = self._line[wanted].T
        logits = (logit(least[wanted]) - offset) / slope
        return float((1 / (1 + np.exp(-logits))).min(initial=1))

    def told(self, candidates: Candidates, least: NDArray[np.float32]) -> Candidates:
        """The candidates with calibrated scores, those that reach `least`, (C,)."""
        boxes, scores, class_ids = candidates
        if len(self._line):
            scores = calibrate(scores, *self._line[class_ids].T)
        reach = scores >= least[class_ids]
        return Candidates(boxes[reach], scores[reach], class_ids[reach])


def class_ids_of(labels: Iterable[str], names: Sequence[str]) -> list[int]:
    """Class ids of labels.

    Raises:
        ModelError: the detector knows no such label.
    """
    wanted = list(labels)
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ModelError(
            f"the detector has no class {', '.join(unknown)}; it has {', '.join(names)}"
        )
    return [names.index(label) for label in wanted]


def calibrate(
    raw: NDArray[np.float32],
    slope: NDArray[np.float32] | np.float32,
    offset: NDArray[np.float32] | np.float32,
) -> NDArray[np.float32]:
    """Raw scores -> calibrated ones, element by element; see `ClassScore`."""
    told: NDArray[np.float32] = 1 / (1 + np.exp(-(slope * logit(raw) + offset)))
    return told


def logit(p: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(p / (1 - p)) of scores, and of 0 and 1 what is nearly that."""
    held = np.clip(p, np.float32(_EPSILON), np.float32(1 - _EPSILON))
    logits: NDArray[np.float32] = np.log(held / (1 - held))
    return logits
