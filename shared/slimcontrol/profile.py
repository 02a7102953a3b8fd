"""The operating points of a model: their bytes, their worth; those that a person allows.

    profile.json of the model   -> measured bits per pixel, measured relative mAP50 as utility,
                                   smoothed: neither a level nor a quality up is ever worth less
    none, or without any mAP    -> stated defaults, monotone in level and in quality

Qualities are real numbers; the controller chooses among the trained ones, and a person may ask for
any other, whose bytes and worth are taken to lie between its neighbours'. Bits per pixel is only
where the controller starts: it corrects all points by one multiplier that it learns from real
containers.
"""

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from slimcodec.container import round_quality
from slimcodec.model.manifest import Level, Profile, ProfilePoint
from slimcontrol.errors import ControlError
from slimcontrol.point import OperatingPoint

logger = logging.getLogger(__name__)

# Defaults where nothing was measured: chosen, not measured. Every quality step costs about 1.5
# times the bits, as gains a factor sqrt(2) apart do; bits grow more slowly than channels.
_DEFAULT_BPP_SMALLEST = 0.06  # bits per pixel of level 0, quality 0
_DEFAULT_QUALITY_GROWTH = 1.5
_DEFAULT_LEVEL_EXPONENT = 0.5  # bits ~ channels ** 0.5: the first channels carry most

_MAX_ROUNDS = 1000  # of smoothing
_CLOSE = 1e-9  # a round that changes no value by more ends it


def build_operating_points(
    levels: Sequence[Level], qualities: int, profile: Profile | None
) -> tuple[OperatingPoint, ...]:
    """Give every point of a codec, ordered by level, then quality.

    Raises:
        ControlError: there is a profile, but it lacks a point.
    """
    defaults = default_operating_points([level.latent_channels for level in levels], qualities)
    if profile is None:
        logger.warning("the model has no measured profile: default bits and utilities are used")
        return defaults
    measured = {(point.level, point.quality): point for point in profile.points}
    for default in defaults:
        if (default.level, default.quality) not in measured:
            raise ControlError(
                f"the model's profile lacks level {default.level}, quality {default.quality}; "
                f"it needs {len(levels)} levels of {qualities} qualities; measure it again"
            )
    utilities = _measured_utilities([measured[d.level, d.quality] for d in defaults], qualities)
    if utilities is None:
        logger.warning("the model's profile has no mAP: default utilities are used")
        utilities = [default.utility for default in defaults]
    return tuple(
        OperatingPoint(d.level, d.quality, measured[d.level, d.quality].bpp, utility)
        for d, utility in zip(defaults, utilities, strict=True)
    )


def _measured_utilities(points: Sequence[ProfilePoint], qualities: int) -> list[float] | None:
    """What points are worth, smoothed; None where not all of them were measured.

    Args:
        points: By level, then quality, without a gap.
    """
    for worth in ([point.utility for point in points], [point.map50_relative for point in points]):
        known = [value for value in worth if value is not None]
        if len(known) == len(worth):
            rows = [known[i : i + qualities] for i in range(0, len(known), qualities)]
            return [value for row in smooth_monotone(rows) for value in row]
    return None


def default_operating_points(
    latent_channels: Sequence[int], qualities: int
) -> tuple[OperatingPoint, ...]:
    """Give points whose bits and utility rise with level and quality; nothing in them is measured.

    The utility counts level and quality for half each.
    """
    levels = len(latent_channels)
    return tuple(
        OperatingPoint(
            level=level,
            quality=quality,
            bpp=_DEFAULT_BPP_SMALLEST
            * (channels / latent_channels[0]) ** _DEFAULT_LEVEL_EXPONENT
            * _DEFAULT_QUALITY_GROWTH**quality,
            utility=(level + 1) / (2 * levels) + (quality + 1) / (2 * qualities),
        )
        for level, channels in enumerate(latent_channels)
        for quality in range(qualities)
    )


def restrict_points(
    points: Sequence[OperatingPoint],
    level: int | None,
    quality: float | None,
    max_level: int | None = None,
) -> tuple[OperatingPoint, ...]:
    """Keep only the points that a person allows.

    Args:
        points: Of the model.
        level, quality: The only ones to use, if given; a quality between two of the model's gives
            points between theirs.
        max_level: The widest level to send unasked; an enhancement still reaches the widest.

    Raises:
        ControlError: the model has none of them.
    """
    kept = tuple(
        point
        for point in (points if quality is None else _at_quality(points, quality))
        if level in (None, point.level) and (max_level is None or point.level <= max_level)
    )
    if not kept:
        asked = (("level", level), ("a level up to", max_level), ("quality", quality))
        wanted = " and ".join(f"{what} {value:g}" for what, value in asked if value is not None)
        raise ControlError(
            f"{wanted} was asked for; the model has levels 0 to {max(p.level for p in points)} and "
            f"qualities 0 to {max(p.quality for p in points):g}"
        )
    return kept


def _at_quality(points: Sequence[OperatingPoint], quality: float) -> tuple[OperatingPoint, ...]:
    """One point for every level that has this quality or one on each side of it.

    Bits are interpolated in the logarithm, as the gains are, utility as it is.
    """
    quality = round_quality(quality)
    chosen = []
    for level in sorted({point.level for point in points}):
        of_level = [point for point in points if point.level == level]
        below = [point for point in of_level if point.quality <= quality]
        above = [point for point in of_level if point.quality >= quality]
        if below and above:
            low = max(below, key=lambda point: point.quality)
            high = min(above, key=lambda point: point.quality)
            gap = high.quality - low.quality
            part = (quality - low.quality) / gap if gap else 0.0
            bpp = low.bpp ** (1 - part) * high.bpp**part
            utility = low.utility + part * (high.utility - low.utility)
            chosen.append(OperatingPoint(level, quality, bpp, utility))
    return tuple(chosen)


def smooth_monotone(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Give the grid nearest to this one, in least squares, that never falls along a row or column.

    mAP of some dozens of pictures goes up and down by a few hundredths from point to point, which
    is noise of the pictures; a controller that believed it would send a wider level for nothing.

    Args:
        values: Rows of equal length, of finite numbers.

    Source: Dykstra and Robertson, An algorithm for isotonic regression for two or more independent
    variables, Annals of Statistics 10 (3), 1982, https://doi.org/10.1214/aos/1176345866.
    """
    fitted = np.array(values, dtype=np.float64)
    by_row = by_column = np.zeros_like(fitted)  # what the last fits took away
    for _ in range(_MAX_ROUNDS):
        before = fitted
        corrected = fitted + by_row
        fitted = np.array([_rise(row) for row in corrected])
        by_row = corrected - fitted
        corrected = fitted + by_column
        fitted = np.array([_rise(column) for column in corrected.T]).T
        by_column = corrected - fitted
        if np.all(np.abs(fitted - before) < _CLOSE):
            break
    # rounding and an early end may leave a fall of about `_CLOSE`
    highest = np.maximum.accumulate(np.maximum.accumulate(fitted, axis=0), axis=1)
    smooth: list[list[float]] = highest.tolist()
    return smooth


def _rise(values: Iterable[float]) -> list[float]:
    """The nearest sequence that never falls: neighbours that do are replaced by their mean."""
    blocks: list[tuple[float, int]] = []  # mean, length
    for value in values:
        mean, length = value, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean = (mean * length + other * count) / (length + count)
            length += count
        blocks.append((mean, length))
    return [mean for mean, length in blocks for _ in range(length)]
