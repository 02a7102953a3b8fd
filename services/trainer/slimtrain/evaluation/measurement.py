"""What one picture gave at one operating point, and the cache of it.

A cache is a folder with one `.npz` per operating point. Its name holds a digest of everything that
decides the results (model files, detector files, libraries and settings, precision), so a changed
model is measured anew and a baseline is measured once. Rows are known by their picture's SHA-256.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.whole_file import whole_file
from slimtrain.figures.mean_average_precision import ScoredBoxes

CACHE_FORMAT = 2  # 1 had another MS-SSIM


@dataclass(frozen=True)
class Measurement:
    """One picture at one operating point; None where a model does not do that."""

    num_bytes: int  # whole file or container
    enhancement_bytes: int | None  # what a viewer still needs after this stream
    psnr_db: float | None
    ms_ssim: float | None  # None too for a picture that is too small for it
    encode_seconds: float
    decode_seconds: float | None  # file to pixels
    from_features: ScoredBoxes | None
    from_pixels: ScoredBoxes | None


class MeasurementCache:
    """Measurements by operating point and picture, kept between runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, point: str, setting: str) -> dict[str, Measurement]:
        """What is known of an operating point, by the pictures' digests.

        Args:
            point: its name, for people; safe as a file name.
            setting: everything that decides its results.
        """
        path = self._path(point, setting)
        if not path.exists():
            return {}
        try:
            with np.load(path, allow_pickle=False) as file:
                return _unpack({name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return {}  # cut short or of another format: it is only a cache

    def write(self, point: str, setting: str, known: Mapping[str, Measurement]) -> None:
        """Keep all measurements of an operating point, in one step."""
        path = self._path(point, setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez_compressed(file, **_pack(known))

    def _path(self, point: str, setting: str) -> Path:
        digest = hashlib.sha256(f"{CACHE_FORMAT}\n{setting}".encode()).hexdigest()
        return self._folder / f"{point}-{digest[:12]}.npz"


def _pack(known: Mapping[str, Measurement]) -> dict[str, NDArray[np.generic]]:
    rows = list(known.values())
    numbers = [
        [
            row.num_bytes,
            _number(row.enhancement_bytes),
            _number(row.psnr_db),
            _number(row.ms_ssim),
            row.encode_seconds,
            _number(row.decode_seconds),
        ]
        for row in rows
    ]
    arrays: dict[str, NDArray[np.generic]] = {
        "digests": np.asarray(list(known), np.str_),
        "numbers": np.asarray(numbers, np.float64).reshape(-1, 6),
    }
    for kind in ("from_features", "from_pixels"):
        found: list[ScoredBoxes | None] = [getattr(row, kind) for row in rows]
        there = [boxes for boxes in found if boxes is not None]
        arrays[f"{kind}_count"] = np.asarray(
            [-1 if boxes is None else len(boxes.scores) for boxes in found], np.int64
        )
        table = [
            np.column_stack([boxes.boxes_xyxy, boxes.scores, boxes.class_ids]) for boxes in there
        ]
        arrays[kind] = np.concatenate([np.zeros((0, 6)), *table]).astype(np.float32)
    return arrays


def _unpack(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Measurement]:
    boxes: dict[str, list[ScoredBoxes | None]] = {}
    for kind in ("from_features", "from_pixels"):
        counts = arrays[f"{kind}_count"].astype(np.int64)
        ends = np.cumsum(np.maximum(counts, 0))
        table = arrays[kind].astype(np.float32)
        boxes[kind] = [
            None if count < 0 else _scored(table[end - count : end])
            for count, end in zip(counts, ends, strict=True)
        ]
    numbers = arrays["numbers"].astype(np.float64)
    return {
        str(digest): Measurement(
            num_bytes=int(row[0]),
            enhancement_bytes=None if np.isnan(row[1]) else int(row[1]),
            psnr_db=_maybe(row[2]),
            ms_ssim=_maybe(row[3]),
            encode_seconds=float(row[4]),
            decode_seconds=_maybe(row[5]),
            from_features=features,
            from_pixels=pixels,
        )
        for digest, row, features, pixels in zip(
            arrays["digests"], numbers, boxes["from_features"], boxes["from_pixels"], strict=True
        )
    }


def _scored(table: NDArray[np.float32]) -> ScoredBoxes:
    return ScoredBoxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _maybe(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
