"""Measuring operating points on pictures, with what is known already taken from the cache."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tqdm import tqdm

from slimcodec.image import load_image
from slimtrain.evaluation.measurement import Measurement, MeasurementCache
from slimtrain.evaluation.operating_point import OperatingPoint
from slimtrain.evaluation.pictures import EvaluationPicture


def measure(
    points: Sequence[OperatingPoint],
    pictures: Sequence[EvaluationPicture],
    cache: MeasurementCache,
    show_progress: bool = True,
) -> list[list[Measurement]]:
    """Every point on every picture, each point written to the cache when it is complete.

    Returns:
        For each point, the measurements in the order of the pictures.

    Raises:
        CodecError: an artifact or a picture cannot be used.
    """
    results: list[list[Measurement]] = []
    with tqdm(points, unit="point", disable=not show_progress) as progress:
        for point in progress:
            progress.set_postfix_str(point_name(point))
            results.append(_measure_point(point, pictures, cache))
    return results


def point_name(point: OperatingPoint) -> str:
    """A point's name as a file name: `slim-n-1-l0-q2.5`, `jpeg-q20`."""
    level = "" if point.level is None else f"-l{point.level}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{point.codec}{level}-q{point.quality:g}")


def _measure_point(
    point: OperatingPoint, pictures: Sequence[EvaluationPicture], cache: MeasurementCache
) -> list[Measurement]:
    name = point_name(point)
    known = cache.read(name, point.setting)
    missing = {p.digest: p for p in pictures if p.digest not in known}
    if missing:
        for digest, picture in missing.items():
            known[digest] = point.measure(load_image(picture.path))
        cache.write(name, point.setting, known)
    return [known[picture.digest] for picture in pictures]
