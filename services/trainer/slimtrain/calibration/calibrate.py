"""What a codec costs and is worth on this device, for its controller: its `profile.json`.

    one picture of each size -Encoder, median-> seconds by (level, size) -------------+-> profile
    pictures -measure_pictures-> bits per pixel, mAP50 kept, by (level, quality) -----'

What else the profile says is kept. No torch; without a detector, seconds and bytes only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.manifest import Calibration, EncodeTiming, Profile, ProfilePoint
from slimcodec.whole_file import write_whole
from slimtrain.calibration.measure import Picture, PicturePoints, PointKey
from slimtrain.calibration.utility import Utilities

PROFILE = "profile.json"
REPEATS = 9  # of each timing; the median is kept
_WARM_UP = 2  # encodings that are not timed: graphs compile, caches fill

Resolution = tuple[int, int]  # height, width, pixels


class CalibrationError(Exception):
    """Nothing to keep the measurement in."""


def time_encoding(
    artifact: CodecArtifact,
    runtime: Runtime,
    resolutions: Sequence[Resolution],
    like: Picture | None = None,
    repeats: int = REPEATS,
) -> tuple[EncodeTiming, ...]:
    """Median seconds from pixels to bitstream, at the middle quality.

    Args:
        like: a picture that is scaled to each size, because busy pictures take the entropy coder
            longer; None: smooth noise.
    """
    encoder = Encoder(artifact, runtime)
    quality = (artifact.manifest.qualities - 1) // 2
    source = _smooth_noise() if like is None else like
    timings = []
    for height, width in resolutions:
        image = np.asarray(Image.fromarray(source).resize((width, height)))
        for level in range(artifact.widest_level + 1):
            seconds = [
                encoder.encode(image, level, quality).encode_seconds
                for _ in range(_WARM_UP + repeats)
            ][_WARM_UP:]
            median = statistics.median(seconds)
            timings.append(
                EncodeTiming(level=level, height=height, width=width, encode_seconds=median)
            )
    return tuple(timings)


def mean_bpp(pictures: Sequence[PicturePoints]) -> dict[PointKey, float]:
    """Container bits over pixels of all pictures, by (level, quality)."""
    num_pixels = sum(picture.num_pixels for picture in pictures)
    return {
        point: 8 * sum(picture.num_bytes[point] for picture in pictures) / num_pixels
        for point in (pictures[0].num_bytes if pictures else {})
    }


def merge_profile(
    before: Profile | None,
    bpp: Mapping[PointKey, float],
    utilities: Utilities | None,
    calibration: Calibration,
) -> Profile:
    """The profile with what was measured now; whatever else it says is as it was.

    Raises:
        CalibrationError: there was none, and no bits per pixel were measured either.
    """
    if not bpp:
        if before is None:
            raise CalibrationError(
                "the model has no profile yet, and seconds alone make none; measure the bytes of "
                "pictures, too"
            )
        known = before.calibration
        pictures = 0 if known is None else known.pictures  # the points' bpp stay as they are
        return before.model_copy(
            update={"calibration": calibration.model_copy(update={"pictures": pictures})}
        )
    old = {(point.level, point.quality): point for point in (before.points if before else ())}
    worth = {} if utilities is None else utilities.by_point
    new = []
    for key, value in bpp.items():
        measured: dict[str, float] = {"bpp": round(value, 5)}
        if key in worth:
            measured["utility"] = round(worth[key], 4)
        point = old.pop(key, ProfilePoint(level=key[0], quality=key[1], bpp=value))
        new.append(point.model_copy(update=measured))
    profile = before or Profile(
        points=(), pictures=calibration.pictures, command=calibration.command
    )
    update: dict[str, object] = {"points": (*new, *old.values()), "calibration": calibration}
    if utilities is not None:
        update |= {
            "utility_source": utilities.source,
            "utility_pictures": calibration.pictures,
            "utility_command": calibration.command,
        }
    return profile.model_copy(update=update)


def write_profile(folder: Path, profile: Profile) -> Path:
    """Replace the profile of a codec's folder in one step."""
    path = folder / PROFILE
    write_whole(path, profile.model_dump_json(indent=1) + "\n")
    return path


def _smooth_noise() -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC))
