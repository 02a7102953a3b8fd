"""Measurements of pictures -> one row per operating point, with bootstrap draws behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimtrain.evaluation.measurement import Measurement
from slimtrain.evaluation.operating_point import OperatingPoint, ServedPoint
from slimtrain.evaluation.table import EvaluationRow
from slimtrain.figures.bootstrap import Draws, interval, mean_ap50
from slimtrain.figures.mean_average_precision import (
    Labels,
    ScoredBoxes,
    match_at_50,
    mean_average_precision,
)

MIN_LABELS = 8
"""A class with fewer labels than this in all pictures is not a frequent one."""


@dataclass(frozen=True)
class SampledFigures:
    """A row's figures for each draw of pictures, (draws,) each, NaN where there is none; the first
    draw is the pictures themselves.
    """

    bpp: Draws
    map50: Draws
    map50_frequent: Draws
    map50_pixels: Draws
    psnr_db: Draws


@dataclass(frozen=True)
class EvaluatedPoint:
    """A row and the draws that its intervals, and those of all that is derived of it, come from."""

    row: EvaluationRow
    samples: SampledFigures


@dataclass(frozen=True)
class PictureSet:
    """What all points share: labels and sizes of the pictures, and the draws of them."""

    labels: Sequence[Labels]
    num_pixels: NDArray[np.int64]  # (pictures,)
    draws: Draws


@dataclass(frozen=True)
class BoxFigures:
    """mAP of one set of boxes."""

    map50: float | None
    map: float | None
    sampled: Draws
    sampled_frequent: Draws


def score_boxes(found: Sequence[ScoredBoxes | None], pictures: PictureSet) -> BoxFigures | None:
    """The figures of boxes in all pictures; None where there are none to score."""
    boxes = [one for one in found if one is not None]
    if len(boxes) != len(pictures.labels):
        return None
    matches = match_at_50(boxes, pictures.labels)
    by_coco = mean_average_precision(boxes, pictures.labels)
    return BoxFigures(
        map50=by_coco.map50,
        map=by_coco.map,
        sampled=mean_ap50(matches, pictures.draws),
        sampled_frequent=mean_ap50(matches, pictures.draws, MIN_LABELS),
    )


def evaluate_point(
    point: OperatingPoint,
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
    is_served = isinstance(point, ServedPoint)
    boxes = score_boxes([m.from_features for m in measured], pictures) if is_served else from_pixels
    num_bytes = np.asarray([m.num_bytes for m in measured])
    enhancement = _sum([m.enhancement_bytes for m in measured])
    then_view = None
    if enhancement and full_bytes:
        then_view = (int(num_bytes.sum()) + enhancement) / full_bytes
    samples = _sample(measured, num_bytes, pictures, boxes, from_pixels)
    bounds = interval(samples.map50)
    change = samples.map50 - uncompressed.sampled
    change_bounds = interval(change)
    frequent, frequent_before = samples.map50_frequent[0], uncompressed.sampled_frequent[0]
    frequent_change = samples.map50_frequent - uncompressed.sampled_frequent
    frequent_bounds = interval(frequent_change)
    row = EvaluationRow(
        codec=point.codec,
        level=point.level,
        quality=point.quality,
        pictures=len(measured),
        bytes=int(num_bytes.sum()),
        bpp=float(8 * num_bytes.sum() / pictures.num_pixels.sum()),
        map50=boxes.map50 if boxes else None,
        map50_low=bounds.low if bounds else None,
        map50_high=bounds.high if bounds else None,
        map50_uncompressed=uncompressed.map50,
        map50_relative=relative(boxes.map50 if boxes else None, uncompressed.map50),
        map50_change=_maybe(change[0]),
        map50_change_low=change_bounds.low if change_bounds else None,
        map50_change_high=change_bounds.high if change_bounds else None,
        map50_frequent=_maybe(frequent),
        map50_frequent_relative=relative(_maybe(frequent), _maybe(frequent_before)),
        map50_frequent_change=_maybe(frequent_change[0]),
        map50_frequent_change_low=frequent_bounds.low if frequent_bounds else None,
        map50_frequent_change_high=frequent_bounds.high if frequent_bounds else None,
        map=boxes.map if boxes else None,
        map_relative=relative(boxes.map if boxes else None, uncompressed.map),
        map50_pixels=from_pixels.map50 if from_pixels else None,
        map50_pixels_relative=relative(
            from_pixels.map50 if from_pixels else None, uncompressed.map50
        ),
        psnr_db=_mean([m.psnr_db for m in measured]),
        ms_ssim=_mean([m.ms_ssim for m in measured]),
        kmac_per_pixel=_kmac_per_pixel(point),
        encode_seconds=float(np.mean([m.encode_seconds for m in measured])),
        decode_seconds=_mean([m.decode_seconds for m in measured]),
        enhancement_bytes=enhancement,
        detect_then_view=then_view,
        training_steps=_training_steps(point),
    )
    return EvaluatedPoint(row, samples)


def relative(value: float | None, whole: float | None) -> float | None:
    """What part of a figure is left, or None where there is none."""
    return None if value is None or not whole else round(value / whole, 4)


def _sample(
    measured: Sequence[Measurement],
    num_bytes: NDArray[np.int64],
    pictures: PictureSet,
    boxes: BoxFigures | None,
    from_pixels: BoxFigures | None,
) -> SampledFigures:
    draws = pictures.draws
    nothing = np.full(len(draws), np.nan)
    psnr = [np.nan if m.psnr_db is None else m.psnr_db for m in measured]
    return SampledFigures(
        bpp=8 * (draws @ num_bytes) / (draws @ pictures.num_pixels),
        map50=boxes.sampled if boxes else nothing,
        map50_frequent=boxes.sampled_frequent if boxes else nothing,
        map50_pixels=from_pixels.sampled if from_pixels else nothing,
        psnr_db=draws @ np.asarray(psnr) / draws.sum(axis=1),
    )


def _kmac_per_pixel(point: OperatingPoint) -> float | None:
    if not isinstance(point, ServedPoint):
        return None
    return point.served.artifact.levels[point.level].kmac_per_pixel


def _training_steps(point: OperatingPoint) -> int | None:
    if not isinstance(point, ServedPoint):
        return None
    steps = point.served.artifact.manifest.training.get("steps")
    return int(steps) if isinstance(steps, int | float) else None


def _sum(values: Sequence[int | None]) -> int | None:
    there = [value for value in values if value is not None]
    return sum(there) if len(there) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _maybe(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
