"""The frames that a coder sent -> one row: bits a second, AP50, false boxes, time.

AP50 is held against two truths: what the uncut detector is sure of in the frames as they are, and
boxes that were given. Only frames that arrived are scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimtrain.evaluation.video import CLASSES, Clip, VideoLabels
from slimtrain.evaluation.video_point import CodedFrame, VideoPoint, key_frames
from slimtrain.figures.mean_average_precision import (
    MIN_LABELS,
    ClassMatches,
    Labels,
    match_class,
    pseudo_labels,
)

SURE_SCORE = 0.35  # raw, from which on a box of the uncompressed frame is a truth, or a false one


@dataclass(frozen=True)
class VideoRow:
    """One way to send one clip. None: not known, or too few boxes for a figure."""

    camera: str
    fps: float
    noise: float  # standard deviation of what was added to every value
    coder: str
    level: int | None
    quality: float
    key_seconds: float | None  # None: every frame is a key
    fine_keys: bool  # at the widest level, and so in time what stands still
    lost: float  # part of the frames
    frames: int
    kbit_per_second: float  # with one key in `key_seconds`, however long the clip is
    key_share: float  # of it
    changed: float | None  # part of the places that is coded, mean over the frames
    persons: int  # sure ones in the uncompressed frames, of those that arrived
    cars: int
    ap50_person: float | None  # against these
    ap50_car: float | None
    ap50_person_labels: float | None  # against the boxes that were given
    ap50_car_labels: float | None
    false_boxes: float  # sure ones that hit no given box, or else none of the truths; a frame
    encode_seconds: float  # processor time of a frame, one thread: only ratios mean something


@dataclass(frozen=True, eq=False)
class Truth:
    """What is in each frame."""

    labels: Sequence[Labels | None]  # None: nobody looked at that frame
    class_ids: frozenset[int]  # that were looked for

    def match(self, frames: Sequence[CodedFrame], class_id: int) -> ClassMatches:
        """The boxes of one class in the frames that arrived and somebody looked at."""
        both = [
            (frame.boxes, labels)
            for frame, labels in zip(frames, self.labels, strict=True)
            if frame.boxes is not None and labels is not None
        ]
        return match_class(class_id, [boxes for boxes, _ in both], [labels for _, labels in both])


@dataclass(frozen=True, eq=False)
class ClipTruth:
    """What is in a clip, by the detector and by who labelled it."""

    class_ids: Sequence[int]  # of `CLASSES`
    uncompressed: Truth
    given: Truth | None

    @classmethod
    def of(
        cls, clip: Clip, seen: Sequence[CodedFrame], given: VideoLabels | None, names: Sequence[str]
    ) -> "ClipTruth":
        """Args:
        seen: the clip uncompressed.
        names: the detector's classes.
        """
        class_ids = [names.index(name) for name in CLASSES]
        sure = [pseudo_labels(f.boxes, SURE_SCORE) if f.boxes else None for f in seen]
        labelled = None
        if given is not None:
            labelled = Truth([given.of_frame(n) for n in clip.numbers], given.class_ids)
        return cls(class_ids, Truth(sure, frozenset(class_ids)), labelled)


def score_frames(
    point: VideoPoint, frames: Sequence[CodedFrame], lost: float, clip: Clip, truth: ClipTruth
) -> VideoRow:
    """One row."""
    rate, key_share = _rate(point, [frame.num_bytes for frame in frames], clip.fps)
    persons, cars = (truth.uncompressed.match(frames, c) for c in truth.class_ids)
    given = truth.given
    by_labels = [
        _ap50(given.match(frames, c)) if given and c in given.class_ids else None
        for c in truth.class_ids
    ]
    looked_at = given or truth.uncompressed
    false = sum(_false_boxes(looked_at.match(frames, c)) for c in looked_at.class_ids)
    arrived = sum(
        frame.boxes is not None and labels is not None
        for frame, labels in zip(frames, looked_at.labels, strict=True)
    )
    changed = [frame.changed for frame in frames if frame.changed is not None]
    return VideoRow(
        camera=clip.camera,
        fps=clip.fps,
        noise=clip.noise,
        coder=point.coder,
        level=point.level,
        quality=point.quality,
        key_seconds=point.key_seconds,
        fine_keys=point.fine_keys,
        lost=lost,
        frames=len(frames),
        kbit_per_second=round(rate / 1000, 3),
        key_share=round(key_share, 4),
        changed=round(float(np.mean(changed)), 4) if changed else None,
        persons=int(persons.num_labels.sum()),
        cars=int(cars.num_labels.sum()),
        ap50_person=_ap50(persons),
        ap50_car=_ap50(cars),
        ap50_person_labels=by_labels[0],
        ap50_car_labels=by_labels[1],
        false_boxes=round(false / max(arrived, 1), 4),
        encode_seconds=round(float(np.mean([frame.encode_seconds for frame in frames])), 6),
    )


def _rate(point: VideoPoint, num_bytes: Sequence[int], fps: float) -> tuple[float, float]:
    """Bits a second of a stream without end that has its keys as planned, and the keys' part.

    A short clip begins with a key; a minute has one. What comes in between counts as it is, a key
    at a change of scene too.
    """
    bits = 8 * np.asarray(num_bytes, np.float64)
    if point.key_seconds is None:
        return float(bits.mean() * fps), 1.0
    interval = key_frames(point.key_seconds, fps)
    is_planned = np.arange(len(bits)) % interval == 0
    key = bits[is_planned].mean()
    others = (interval - 1) * (bits[~is_planned].mean() if not is_planned.all() else 0.0)
    return float((key + others) * fps / interval), float(key / (key + others))


def _ap50(matches: ClassMatches) -> float | None:
    if matches.num_labels.sum() < MIN_LABELS:
        return None
    return round(float(matches.average_precision(np.ones((1, len(matches.num_labels))))[0]), 4)


def _false_boxes(matches: ClassMatches) -> int:
    return int(((matches.scores >= SURE_SCORE) & ~matches.is_hit).sum())
