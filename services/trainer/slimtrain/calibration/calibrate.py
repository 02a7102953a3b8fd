"""A codec's `profile.json`: what its points cost and are worth, for the edge's controller.

    one picture of each size -Encoder, median-> seconds by (level, size) -------------+-> profile
    pictures -measure_pictures-> bits per pixel, mAP50 kept, by (level, quality) -----'

Two commands measure it, and each keeps what only the other one knows: `slimwire evaluate --profile`
the points' accuracy, `slimwire calibrate` this device's seconds and what the points are worth on a
person's own pictures. No torch; without a detector, seconds and bytes only.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.manifest import Calibration, Device, EncodeTiming, Profile, ProfilePoint
from slimcodec.whole_file import write_whole
from slimtrain.calibration.measure import (
    Picture,
    PicturePoints,
    PointKey,
    Utilities,
    mean_bpp,
    measure_utilities,
)
from slimtrain.figures.mean_average_precision import Labels

PROFILE = "profile.json"
REPEATS = 9  # of each timing; the median is kept
_WARM_UP = 2  # encodings that are not timed: graphs compile, caches fill

Resolution = tuple[int, int]  # height, width, pixels


class CalibrationError(Exception):
    """Nothing to keep the measurement in."""


def calibrate(
    codec: CodecArtifact,
    runtime: Runtime,
    resolutions: Sequence[Resolution],
    device: Device,
    command: str,
    *,
    like: Picture | None = None,
    measured: Sequence[PicturePoints] = (),
    labels: Sequence[Labels] | None = None,
) -> tuple[Profile, Utilities | None]:
    """Time the encoder on this device and write the codec's profile: it, and what the pictures are
    worth, where that was measured.

    Args:
        like: as `time_encoding` takes it.
        measured: pictures of `measure_pictures`; none: seconds only.
        labels: what is in them; None: nobody said.

    Raises:
        CalibrationError: no picture was measured, and there is no profile to keep seconds in.
    """
    utilities = measure_utilities(measured, labels)
    calibration = Calibration(
        device=device.processor,
        threads=device.threads,
        timings=time_encoding(codec, runtime, resolutions, like),
        pictures=len(measured),
        command=command,
    )
    profile = merge_calibration(codec.profile, mean_bpp(measured), utilities, calibration)
    write_profile(codec.directory, profile)
    return profile, utilities


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


def _smooth_noise() -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC))


def merge_calibration(
    before: Profile | None,
    bpp: Mapping[PointKey, float],
    utilities: Utilities | None,
    calibration: Calibration,
) -> Profile:
    """The profile with what was calibrated now; whatever else it says is as it was.

    Raises:
        CalibrationError: there was none, and no bits per pixel were measured either.
    """
    if before is None and not bpp:
        raise CalibrationError(
            "the model has no profile yet, and seconds alone make none; measure the bytes of "
            "pictures, too"
        )
    profile = before or Profile(
        points=(), pictures=calibration.pictures, command=calibration.command
    )
    if not bpp and (known := profile.calibration) is not None:  # the points' bpp stay as they are
        calibration = calibration.model_copy(update={"pictures": known.pictures})
    old = {(point.level, point.quality): point for point in profile.points}
    worth = {} if utilities is None else utilities.by_point
    new = []
    for key, value in bpp.items():
        measured: dict[str, float] = {"bpp": round(value, 5)}
        if key in worth:
            measured["utility"] = round(worth[key], 4)
        point = old.pop(key, ProfilePoint(level=key[0], quality=key[1], bpp=value))
        new.append(point.model_copy(update=measured))
    update: dict[str, object] = {"points": (*new, *old.values()), "calibration": calibration}
    if utilities is not None:
        update |= {
            "utility_source": utilities.source,
            "utility_pictures": calibration.pictures,
            "utility_command": calibration.command,
        }
    return profile.model_copy(update=update)


def merge_evaluation(
    before: Profile | None, points: Sequence[ProfilePoint], pictures: int, command: str
) -> Profile:
    """The profile of these points; what was calibrated stays true, but is of other bits."""
    before = before or Profile(points=(), pictures=pictures, command=command)
    utility = {(point.level, point.quality): point.utility for point in before.points}
    known = before.calibration
    return before.model_copy(
        update={
            "points": tuple(
                point.model_copy(update={"utility": utility.get((point.level, point.quality))})
                for point in points
            ),
            "pictures": pictures,
            "command": command,
            "calibration": None if known is None else known.model_copy(update={"pictures": 0}),
        }
    )


def write_profile(folder: Path, profile: Profile) -> Path:
    """Replace the profile of a codec's folder in one step."""
    path = folder / PROFILE
    write_whole(path, profile.model_dump_json(indent=1) + "\n")
    return path
