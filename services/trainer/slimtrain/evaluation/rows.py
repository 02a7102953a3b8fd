"""Measurements of pictures -> one row per operating point, with bootstrap draws behind it.

rows -> table.json, table.csv; a model's own rows -> the points of its profile.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import ProfilePoint
from slimtrain.calibration.calibrate import merge_evaluation, write_profile
from slimtrain.evaluation.operating_point import Measurement, PointUnderTest
from slimtrain.figures.bootstrap import Draws, interval
from slimtrain.figures.mean_average_precision import (
    IOUS,
    MIN_LABELS,
    Labels,
    ScoredBoxes,
    match_boxes,
    mean_ap,
)


@dataclass(frozen=True)
class EvaluationRow:
    """One operating point over all pictures. None: the codec does not do that, or nothing is known.

    `map50` is of the boxes that a user gets: from features for our models, from the decoded picture
    for the others. "low" and "high" bound the middle 95 % of a bootstrap over the pictures.
    """

    codec: str
    level: int | None  # None for codecs without levels
    quality: float
    pictures: int
    bytes: int  # of all pictures together
    bpp: float  # bits of all pictures over pixels of all pictures
    map50: float | None
    map50_low: float | None
    map50_high: float | None
    map50_uncompressed: float | None
    map50_relative: float | None  # to the uncompressed pictures'
    map50_change: float | None  # in mAP, against the uncompressed pictures; paired
    map50_change_low: float | None
    map50_change_high: float | None
    map50_frequent: float | None  # over classes with enough labels
    map50_frequent_relative: float | None
    map50_frequent_change: float | None
    map50_frequent_change_low: float | None
    map50_frequent_change_high: float | None
    map: float | None  # mAP50:95
    map_relative: float | None
    map50_pixels: float | None  # boxes from the decoded picture, by the uncut detector
    map50_pixels_relative: float | None
    psnr_db: float | None  # mean over pictures
    ms_ssim: float | None  # mean over pictures large enough for it
    kmac_per_pixel: float | None  # of g_a, at the edge
    encode_seconds: float  # mean per picture
    decode_seconds: float | None  # mean per picture, file to pixels
    enhancement_bytes: int | None  # what a viewer needs after this stream, of all pictures
    detect_then_view: float | None  # this stream and its enhancement, over the full stream alone
    training_steps: int | None


@dataclass(frozen=True)
class EvaluatedPoint:
    """A row and the draws that its intervals, and those of all that is derived of it, come from."""

    row: EvaluationRow
    # bpp, map50, map50_frequent and psnr_db of each draw, (draws,); NaN where there is none
    samples: Mapping[str, Draws]


@dataclass(frozen=True)
class PictureSet:
    """What all points share: labels and sizes of the pictures, and the draws of them."""

    labels: Sequence[Labels]
    num_pixels: NDArray[np.int64]  # (pictures,)
    draws: Draws


@dataclass(frozen=True)
class BoxFigures:
    """mAP of one set of boxes; None and NaN where there are none to score."""

    map: float | None
    sampled: Draws  # mAP50; the first draw is the pictures themselves
    sampled_frequent: Draws

    @property
    def map50(self) -> float | None:
        return _maybe(self.sampled[0])


def score_boxes(found: Sequence[ScoredBoxes | None], pictures: PictureSet) -> BoxFigures:
    """The figures of boxes in all pictures."""
    boxes = [one for one in found if one is not None]
    if len(boxes) != len(pictures.labels):
        nothing = np.full(len(pictures.draws), np.nan)
        return BoxFigures(None, nothing, nothing)
    by_iou = [match_boxes(boxes, pictures.labels, iou) for iou in IOUS]
    sampled = mean_ap(by_iou[0], draws=pictures.draws)
    return BoxFigures(
        map=_maybe(float(np.mean([mean_ap(matches)[0] for matches in by_iou]))),
        sampled=sampled,
        sampled_frequent=mean_ap(by_iou[0], MIN_LABELS, pictures.draws),
    )


def evaluate_point(
    point: PointUnderTest,
    measured: Sequence[Measurement],
    pictures: PictureSet,
    uncompressed: BoxFigures,
    full_bytes: int | None = None,
) -> EvaluatedPoint:
    """One row.

    Args:
        measured: of each picture.
        uncompressed: the boxes in the pictures as they are.
        full_bytes: what the widest level's streams take, of all pictures.
    """
    from_pixels = score_boxes([m.from_pixels for m in measured], pictures)
    boxes = from_pixels
    if point.artifact:
        boxes = score_boxes([m.from_features for m in measured], pictures)
    num_bytes = np.asarray([m.num_bytes for m in measured])
    enhancement = _sum([m.enhancement_bytes for m in measured])
    frequent, frequent_before = boxes.sampled_frequent, uncompressed.sampled_frequent
    steps = point.artifact.manifest.training.get("steps") if point.artifact else None
    row = EvaluationRow(
        codec=point.codec,
        level=point.level,
        quality=point.quality,
        pictures=len(measured),
        bytes=int(num_bytes.sum()),
        bpp=float(8 * num_bytes.sum() / pictures.num_pixels.sum()),
        **_bounded("map50", boxes.sampled),
        map50_uncompressed=uncompressed.map50,
        map50_relative=_relative(boxes.map50, uncompressed.map50),
        **_bounded("map50_change", boxes.sampled - uncompressed.sampled),
        map50_frequent=_maybe(frequent[0]),
        map50_frequent_relative=_relative(_maybe(frequent[0]), _maybe(frequent_before[0])),
        **_bounded("map50_frequent_change", frequent - frequent_before),
        map=boxes.map,
        map_relative=_relative(boxes.map, uncompressed.map),
        map50_pixels=from_pixels.map50,
        map50_pixels_relative=_relative(from_pixels.map50, uncompressed.map50),
        psnr_db=_mean([m.psnr_db for m in measured]),
        ms_ssim=_mean([m.ms_ssim for m in measured]),
        kmac_per_pixel=point.artifact.levels[point.level or 0].kmac_per_pixel
        if point.artifact
        else None,
        encode_seconds=float(np.mean([m.encode_seconds for m in measured])),
        decode_seconds=_mean([m.decode_seconds for m in measured]),
        enhancement_bytes=enhancement,
        detect_then_view=(
            (int(num_bytes.sum()) + enhancement) / full_bytes
            if enhancement and full_bytes
            else None
        ),
        training_steps=int(steps) if isinstance(steps, int | float) else None,
    )
    draws, psnr = pictures.draws, np.asarray([m.psnr_db for m in measured], np.float64)  # None: NaN
    samples = {
        "bpp": 8 * (draws @ num_bytes) / (draws @ pictures.num_pixels),
        "map50": boxes.sampled,
        "map50_frequent": frequent,
        "psnr_db": draws @ psnr / draws.sum(axis=1),
    }
    return EvaluatedPoint(row, samples)


def write_evaluated_profile(
    rows: Sequence[EvaluationRow], label: str, codec: Path, command: str
) -> None:
    """Write a model's rows into its `profile.json`, which the edge's controller reads.

    What a point is worth to the detector is read off the classes with enough labels, where there
    are any: the mean over all classes is mostly noise on some dozens of pictures.

    Args:
        label: the model, as `name/version`.
        codec: its folder.
    """
    ours = [row for row in rows if row.codec == label]
    points = []
    for row in ours:
        of_all, of_frequent = row.map50_relative, row.map50_frequent_relative
        point = ProfilePoint(
            level=row.level or 0,
            quality=row.quality,
            bpp=round(row.bpp, 5),
            map50_relative=of_all if of_frequent is None else of_frequent,
            psnr_db=None if row.psnr_db is None else round(row.psnr_db, 3),
        )
        points.append(point)
    before = load_codec_artifact(codec).profile
    write_profile(codec, merge_evaluation(before, points, ours[0].pictures, command))


def _relative(value: float | None, whole: float | None) -> float | None:
    """What part of a figure is left, or None where there is none."""
    return None if value is None or not whole else round(value / whole, 4)


def _bounded(name: str, drawn: Draws) -> dict[str, Any]:
    """A figure of the pictures themselves and the ends of its interval, as the row calls them."""
    low, high = interval(drawn) or (None, None)
    return {name: _maybe(drawn[0]), f"{name}_low": low, f"{name}_high": high}


def _sum(values: Sequence[int | None]) -> int | None:
    there = [value for value in values if value is not None]
    return sum(there) if len(there) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _maybe(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
