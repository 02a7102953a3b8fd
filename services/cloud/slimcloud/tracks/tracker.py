"""Detections of one camera, frame after frame -> the object that each is of.

    tracks ─ Motion.at ─► where they are now ─┬─ clear detections, the likeliest pairs first
                                              ├─ faint ones, for tracks that were just seen
                                              └─ clear ones that are left begin tracks

A faint detection continues a track and begins none, for half of those that stand alone are false.
Source: Zhang et al., ByteTrack, ECCV 2022, section 3, https://arxiv.org/abs/2110.06864. Here pairs
are weighed by the likelihood of the distance rather than by IoU: at one frame a second a walker's
boxes do not overlap.

What stands still rests: it is waited for at its place for minutes, not seconds, so that what the
detector misses now and then, a parked van, stays one object.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from slimcloud.tracks.motion import Box, Motion, centre_and_size
from slimcodec.detection import Detection

MAX_TRACKS = 256  # of one camera; beyond it those go that were not seen for longest
BEGIN_SCORE = 0.6  # calibrated: so many of such boxes are right (`slimdetect.scores`)
_PATIENCE_US = 3_000_000  # a moving object that is not seen is given up after it
_RESTING_PATIENCE_US = 300_000_000  # and one that rests
_REST_US = 5_000_000  # what has not left its place for so long rests
_FIRST_STEPS = 0.2  # sides from where it was first seen: it moves
_REST_IOU = 0.4  # with its box of then; less, and it has left its place
_RESTING_REACH_SECONDS = 1.0  # of motion that is expected of what rests, however long unseen
_GATE = 13.3  # squared deviations; 99 % of chi-squared with 4 degrees of freedom
_SIZE_DEVIATION = 0.3  # of the logarithm of a width or height
_OTHER_LABEL_IOU = 0.5  # from which on a detection with another label may be of the same object
_FAINT_IOU = 0.5  # and a faint one at all
_MAX_LABELS = 4  # that are remembered of a track


@dataclass(frozen=True, slots=True)
class Track:
    """One object, as it was when it was last seen."""

    track_id: int  # 1 or more, never given again by this tracker
    motion: Motion
    begun_us: int  # capture time of its first detection
    seen_us: int  # and of its last
    sightings: int  # detections so far
    label_scores: dict[str, float]  # sum of its scores by label, of the most frequent
    place_xyxy: Box  # where it was when it last had moved
    place_us: int  # and when that was

    @property
    def label(self) -> str:
        """What it was called most."""
        return max(self.label_scores, key=self.label_scores.__getitem__)

    @property
    def is_resting(self) -> bool:
        return self.seen_us - self.place_us >= _REST_US

    @property
    def has_moved(self) -> bool:
        """Whether it ever left the place where it was first seen."""
        return self.place_us > self.begun_us

    @property
    def is_moving(self) -> bool:
        """Whether it is on its way; of a new one the first steps tell."""
        if self.is_resting or self.has_moved:
            return not self.is_resting
        (x, y), _ = centre_and_size(self.place_xyxy)
        away = math.hypot(self.motion.centre[0] - x, self.motion.centre[1] - y)
        return away >= _FIRST_STEPS * self.motion.side

    @classmethod
    def begin(cls, track_id: int, now_us: int, found: Detection) -> Self:
        """After its first detection."""
        motion, scores = Motion.begin(found.box_xyxy), {found.label: found.score}
        return cls(track_id, motion, now_us, now_us, 1, scores, found.box_xyxy, now_us)

    def expected(self, now_us: int) -> Motion:
        """Where it is at a capture time."""
        seconds = (now_us - self.seen_us) / 1e6
        if self.is_resting:
            return self.motion.halted().at(min(seconds, _RESTING_REACH_SECONDS))
        return self.motion.at(seconds)

    def seen(self, now_us: int, found: Detection) -> Self:
        """After one more detection."""
        scores = dict(self.label_scores)
        scores[found.label] = scores.get(found.label, 0.0) + found.score
        best = sorted(scores, key=scores.__getitem__, reverse=True)[:_MAX_LABELS]
        motion = self.expected(now_us).seen(found.box_xyxy)
        stays = iou(self.place_xyxy, motion.box_xyxy) >= _REST_IOU
        return replace(
            self,
            motion=motion,
            seen_us=now_us,
            sightings=self.sightings + 1,
            label_scores={label: scores[label] for label in best},
            place_xyxy=self.place_xyxy if stays else motion.box_xyxy,
            place_us=self.place_us if stays else now_us,
        )

    def is_over(self, now_us: int) -> bool:
        """Whether it is waited for no more."""
        patience = _RESTING_PATIENCE_US if self.is_resting else _PATIENCE_US
        return now_us - self.seen_us > patience


@dataclass(slots=True)
class Tracker:
    """Of one camera. `to_json` and `from_json` carry it from one process to another."""

    tracks: list[Track] = field(default_factory=list)  # last seen first
    next_id: int = 1
    captured_us: int | None = None  # of the last frame

    def update(
        self,
        captured_us: int,
        detections: Sequence[Detection],
        begin_score: float = BEGIN_SCORE,
    ) -> list[int]:
        """Take what was detected in one frame; give the track id of each detection, 0 = of none.

        Args:
            captured_us: microseconds; a frame that is not newer than the last changes nothing, and
                its detections are of no track.
            begin_score: from which on a detection may begin a track.
        """
        ids = [0] * len(detections)
        before_us = self.captured_us
        if before_us is not None and captured_us <= before_us:
            return ids
        self.captured_us = captured_us
        known = [track for track in self.tracks if not track.is_over(captured_us)]
        seen: dict[int, Track] = {}

        def give(index: int, track: Track) -> None:
            ids[index], seen[track.track_id] = track.track_id, track

        def continue_tracks(tracks: list[Track], indices: list[int], min_iou: float) -> None:
            found = [detections[index] for index in indices]
            for track, place in pair(tracks, found, captured_us, min_iou):
                give(indices[place], track.seen(captured_us, found[place]))

        clear = [i for i, detection in enumerate(detections) if detection.score >= begin_score]
        faint = [i for i, detection in enumerate(detections) if detection.score < begin_score]
        continue_tracks(known, clear, 0.0)
        just_seen = [t for t in known if t.track_id not in seen and t.seen_us == before_us]
        continue_tracks(just_seen, faint, _FAINT_IOU)
        for index in clear:
            if not ids[index]:
                give(index, Track.begin(self.next_id, captured_us, detections[index]))
                self.next_id += 1
        # seen once and not again: a false alarm, as a rule
        missed = [t for t in known if t.track_id not in seen and t.sightings > 1]
        self.tracks = [*seen.values(), *missed][:MAX_TRACKS]
        return ids

    def to_json(self) -> bytes:
        """As it may be stored: up to 0.5 kB a track."""
        return _TRACKER.dump_json(self)

    @staticmethod
    def from_json(document: bytes | str) -> "Tracker":
        """From `to_json`.

        Raises:
            pydantic.ValidationError: it is not.
        """
        return _TRACKER.validate_json(document)


def pair(
    tracks: Sequence[Track], detections: Sequence[Detection], now_us: int, min_iou: float = 0.0
) -> list[tuple[Track, int]]:
    """Tracks with the number of the detection that each is seen in, the likeliest pairs first; a
    pair beyond the gate is none, nor one that overlaps less than `min_iou`.
    """
    if not tracks or not detections:
        return []
    costs = _costs(tracks, detections, now_us, min_iou)
    pairs: list[tuple[Track, int]] = []
    while np.isfinite(least := costs.min()):
        row, column = np.argwhere(costs == least)[0]
        pairs.append((tracks[row], int(column)))
        costs[row], costs[:, column] = np.inf, np.inf
    return pairs


def _costs(
    tracks: Sequence[Track], detections: Sequence[Detection], now_us: int, min_iou: float
) -> NDArray[np.float64]:
    """Twice the negative logarithm of how likely each track (row) is seen in each detection
    (column), but for a constant; infinite beyond the gate.
    """
    expected = [track.expected(now_us) for track in tracks]
    centres, sizes = _centres_and_sizes([motion.box_xyxy for motion in expected])  # (T, 2)
    found_centres, found_sizes = _centres_and_sizes([d.box_xyxy for d in detections])  # (D, 2)
    sides = np.array([motion.side for motion in expected])[:, np.newaxis]  # (T, 1)
    variances = np.array([motion.expected_variance for motion in expected])[:, np.newaxis]
    away = (found_centres - centres[:, np.newaxis]) / sides[..., np.newaxis]  # (T, D, 2)
    grown = np.log(found_sizes / sizes[:, np.newaxis])  # (T, D, 2)
    squared = (away**2).sum(-1) / variances + (grown**2).sum(-1) / _SIZE_DEVIATION**2  # (T, D)
    is_other = np.array(
        [[found.label not in track.label_scores for found in detections] for track in tracks]
    )
    overlaps = np.array(
        [[iou(motion.box_xyxy, found.box_xyxy) for found in detections] for motion in expected]
    )
    is_far = (squared > _GATE) | (overlaps < np.where(is_other, _OTHER_LABEL_IOU, min_iou))
    costs: NDArray[np.float64] = np.where(is_far, np.inf, squared + 2 * np.log(variances))
    return costs


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (areas - w * h) if w * h else 0.0


def _centres_and_sizes(boxes: Sequence[Box]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = [centre_and_size(box) for box in boxes]
    return np.array([centre for centre, _ in pairs]), np.array([size for _, size in pairs])


_TRACKER = TypeAdapter(Tracker)
