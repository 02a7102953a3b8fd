"""Rows of videos -> our rate over x264's at equal AP50, of each camera and the median of all."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np

from slimtrain.evaluation.video import CLASSES
from slimtrain.evaluation.video_point import STREAM_CODECS, UNCOMPRESSED
from slimtrain.evaluation.video_rows import VideoRow
from slimtrain.figures.rate_curve import CurvePoint, bd_rate, needed_rate

ANCHOR = next(iter(STREAM_CODECS))  # x264, medium
KEPT_SHARES = (0.9, 0.95, 0.98)  # parts of the uncompressed frames' AP50: rates are compared there
MEDIAN = "median"  # of the cameras, in place of one's name
_TRUTHS = {"detector": "", "labels": "_labels"}  # and how the rows' columns end


@dataclass(frozen=True)
class RateRatio:
    """Our rate over another codec's at equal figure; a range where a curve does not tell more."""

    low: float
    high: float

    def __str__(self) -> str:
        if self.low == math.inf:
            return "not reached"  # by us
        if self.high == 0:
            return "only ours reaches it"
        if self.low == self.high:
            return f"{self.low:.3g}"
        if self.high == math.inf:
            return f"> {self.low:.3g}"
        return f"< {self.high:.3g}" if self.low == 0 else f"{self.low:.3g} to {self.high:.3g}"


def rate_ratio(
    ours: Sequence[CurvePoint], theirs: Sequence[CurvePoint], value: float
) -> RateRatio | None:
    """How much of their rate we need for a figure; None where nothing is known of it.

    It is infinite where we never reach the figure and they do, 0 where it is the other way round.
    Where the cheapest point of a curve is better already, its rate is an upper bound.
    """
    mine, other = needed_rate(ours, value), needed_rate(theirs, value)
    if mine is None or other is None:
        alone = math.inf if mine is None else 0.0
        return None if mine is other else RateRatio(alone, alone)
    ratio = mine.bpp / other.bpp
    if mine.is_at_most and other.is_at_most:
        return None
    return RateRatio(0.0 if mine.is_at_most else ratio, math.inf if other.is_at_most else ratio)


def median_ratio(ratios: Sequence[RateRatio]) -> RateRatio:
    """Where the median of ratios lies, of one at least."""
    lows, highs = zip(*((ratio.low, ratio.high) for ratio in ratios), strict=True)
    return RateRatio(float(np.median(lows)), float(np.median(highs)))


@dataclass(frozen=True)
class EqualAccuracy:
    """What one of our models needs of x264's rate for an AP50."""

    camera: str
    fps: float
    noise: float
    lost: float
    key_seconds: float  # of x264, and of ours where it has a distance from key to key
    coder: str
    class_name: str
    truth: str  # "detector": what it is sure of in the uncompressed frames; or "labels"
    at: str  # a part of the uncompressed frames' AP50; or "shared", all that both curves reach
    cameras: int  # that the figure is of
    ratio_low: float  # infinite: ours never gets there
    ratio_high: float
    ratio: str  # in words


def compare_rates(rows: Sequence[VideoRow]) -> list[EqualAccuracy]:
    """The ratios of all cameras, then the medians; where nothing is known there is none."""
    of_cameras = list(_compare_cameras(rows))
    alike = sorted(of_cameras, key=_without_camera)
    return of_cameras + [_median(list(group)) for _, group in groupby(alike, _without_camera)]


def format_medians(ratios: Sequence[EqualAccuracy]) -> str:
    """The medians for a terminal, one a line."""
    lines = [f"Bits at equal AP50 over those of {ANCHOR}, median over cameras:"]
    for one in ratios:
        if one.camera == MEDIAN:
            rates = f"{one.fps:g} frames/s, key {one.key_seconds:g} s, {one.lost:.0%} lost"
            figure = f"AP50 of {one.class_name} ({one.truth}), {one.at}"
            lines.append(f"{rates}: {one.coder}, {figure}: {one.ratio} ({one.cameras} cameras)")
    return "\n".join(lines)


def _median(of_cameras: Sequence[EqualAccuracy]) -> EqualAccuracy:
    ratio = median_ratio([RateRatio(one.ratio_low, one.ratio_high) for one in of_cameras])
    return replace(
        of_cameras[0],
        camera=MEDIAN,
        cameras=len(of_cameras),
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        ratio=str(ratio),
    )


def _without_camera(one: EqualAccuracy) -> tuple[float | str, ...]:
    """What the medians are for, in the order of the report."""
    told = (one.fps, one.noise, one.lost, one.key_seconds)
    return *told, one.coder, one.truth, one.class_name, one.at


def _clip_of(row: VideoRow) -> tuple[str, float, float]:
    return row.camera, row.fps, row.noise


def _compare_cameras(rows: Sequence[VideoRow]) -> Iterator[EqualAccuracy]:
    """Ratios of each camera by itself."""
    for (camera, fps, noise), lost, key_seconds in product(
        dict.fromkeys(map(_clip_of, rows)),
        sorted({row.lost for row in rows}),
        sorted({row.key_seconds for row in rows if row.coder == ANCHOR and row.key_seconds}),
    ):
        here = [row for row in rows if _clip_of(row) == (camera, fps, noise)]
        [whole] = [row for row in here if row.coder == UNCOMPRESSED.name]
        same = [row for row in here if row.lost == lost and row.key_seconds in (None, key_seconds)]
        theirs = [row for row in same if row.coder == ANCHOR]
        for coder in dict.fromkeys(row.coder for row in same if row.level is not None):
            ours = [row for row in same if row.coder == coder]
            for name, (truth, suffix) in product(CLASSES, _TRUTHS.items()):
                column = f"ap50_{name}{suffix}"
                if (reference := getattr(whole, column)) is None:
                    continue
                for at, ratio in _ratios(_curve(ours, column), _curve(theirs, column), reference):
                    yield EqualAccuracy(
                        camera=camera,
                        fps=fps,
                        noise=noise,
                        lost=lost,
                        key_seconds=key_seconds,
                        coder=coder,
                        class_name=name,
                        truth=truth,
                        at=at,
                        cameras=1,
                        ratio_low=ratio.low,
                        ratio_high=ratio.high,
                        ratio=str(ratio),
                    )


def _ratios(
    ours: Sequence[CurvePoint], theirs: Sequence[CurvePoint], uncompressed: float
) -> Iterator[tuple[str, RateRatio]]:
    for share in KEPT_SHARES:
        if (ratio := rate_ratio(ours, theirs, share * uncompressed)) is not None:
            yield f"{share:.0%}", ratio
    if (percent := bd_rate(theirs, ours).percent) is not None:
        mean = 1 + percent / 100
        yield "shared", RateRatio(mean, mean)


def _curve(rows: Sequence[VideoRow], column: str) -> list[CurvePoint]:
    there = ((row.kbit_per_second, getattr(row, column)) for row in rows)
    return [CurvePoint(rate, value) for rate, value in there if value is not None]
