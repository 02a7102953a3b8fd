"""Measuring operating points on pictures; what was measured before is kept.

The cache is a folder with one file per operating point. Its name holds a digest of everything that
decides the results (model files, detector files, libraries and settings, precision), so a changed
model is measured anew and a baseline is measured once. Rows are known by their picture's SHA-256.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slimcodec.image import load_image
from slimcodec.whole_file import write_whole
from slimtrain.data.pictures import PictureEntry
from slimtrain.evaluation.operating_point import Measurement, PointUnderTest
from slimtrain.figures.mean_average_precision import ScoredBoxes

CACHE_FORMAT = 3  # 1 had another MS-SSIM, 2 was in numpy's format


def measure(
    points: Sequence[PointUnderTest],
    pictures: Sequence[PictureEntry],
    cache: Path,
) -> list[list[Measurement]]:
    """Every point on every picture, each point written to the cache when it is complete.

    Returns:
        For each point, the measurements in the order of the pictures.

    Raises:
        CodecError: an artifact or a picture cannot be used.
    """
    results: list[list[Measurement]] = []
    with tqdm(points, unit="point", disable=None) as progress:  # None: only on a terminal
        for point in progress:
            progress.set_postfix_str(point_name(point))
            results.append(_measure_point(point, pictures, cache))
    return results


def point_name(point: PointUnderTest) -> str:
    """A point's name as a file name: `slim-n-1-l0-q2.5`, `jpeg-q20`."""
    level = "" if point.level is None else f"-l{point.level}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{point.codec}{level}-q{point.quality:g}")


def _measure_point(
    point: PointUnderTest, pictures: Sequence[PictureEntry], cache: Path
) -> list[Measurement]:
    setting = hashlib.sha256(f"{CACHE_FORMAT}\n{point.setting}".encode()).hexdigest()
    path = cache / f"{point_name(point)}-{setting[:12]}.json.gz"
    known = _read(path)
    missing = {p.digest: p for p in pictures if p.digest not in known}
    if missing:
        for digest, picture in missing.items():
            known[digest] = point.measure(load_image(picture.path))
        _write(path, known)
    return [known[picture.digest] for picture in pictures]


def _read(path: Path) -> dict[str, Measurement]:
    if not path.exists():
        return {}
    try:
        rows = json.loads(gzip.decompress(path.read_bytes()))
        return {digest: _measurement(row) for digest, row in rows.items()}
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return {}  # cut short or of another format: it is only a cache


def _write(path: Path, known: Mapping[str, Measurement]) -> None:
    rows = {digest: asdict(measured) for digest, measured in known.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, gzip.compress(json.dumps(rows, default=np.ndarray.tolist).encode()))


def _measurement(row: dict[str, Any]) -> Measurement:
    for name in ("from_features", "from_pixels"):
        if (boxes := row[name]) is not None:
            row[name] = ScoredBoxes(
                np.asarray(boxes["boxes_xyxy"], np.float32).reshape(-1, 4),
                np.asarray(boxes["scores"], np.float32),
                np.asarray(boxes["class_ids"], np.int64),
            )
    return Measurement(**row)
