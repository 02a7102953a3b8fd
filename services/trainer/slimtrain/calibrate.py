"""What a codec costs on this device, for its controller: seconds by level and picture size, and the
bytes of the user's own pictures by level and quality.

    pictures -Encoder-> bits per pixel of every (level, quality) --+-> profile.json
    one picture of each size -Encoder, median-> seconds -----------'   (what else it says is kept)

Runs where an edge runs: it needs the codec's graphs and tables, no detector and no torch.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.artifact import CodecArtifact
from slimcodec.encode import Encoder
from slimcodec.manifest import Calibration, EncodeTiming, Profile, ProfilePoint
from slimcodec.runtime import Runtime

PROFILE = "profile.json"
REPEATS = 9  # of each timing; the median is kept
_WARM_UP = 2  # encodings that are not timed: graphs compile, caches fill
_CPU_INFO = Path("/proc/cpuinfo")

Picture = NDArray[np.uint8]
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


def measure_bpp(
    artifact: CodecArtifact, runtime: Runtime, pictures: Iterable[Picture]
) -> dict[tuple[int, int], float]:
    """Container bits over pixels of all pictures, by (level, quality)."""
    encoder = Encoder(artifact, runtime)
    points = [
        (level, quality)
        for level in range(artifact.widest_level + 1)
        for quality in range(artifact.manifest.qualities)
    ]
    num_bytes = dict.fromkeys(points, 0)
    num_pixels = 0
    for picture in pictures:
        num_pixels += picture.shape[0] * picture.shape[1]
        for point in points:
            num_bytes[point] += len(encoder.encode(picture, *point).bitstream)
    return {point: 8 * count / num_pixels for point, count in num_bytes.items()}


def merge_profile(
    before: Profile | None, bpp: dict[tuple[int, int], float], calibration: Calibration
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
    new = tuple(
        old.pop(key, ProfilePoint(level=key[0], quality=key[1], bpp=value)).model_copy(
            update={"bpp": round(value, 5)}
        )
        for key, value in bpp.items()
    )
    return Profile(
        points=(*new, *old.values()),
        pictures=before.pictures if before else calibration.pictures,
        command=before.command if before else calibration.command,
        calibration=calibration,
    )


def write_profile(folder: Path, profile: Profile) -> Path:
    """Replace the profile of a codec's folder in one step."""
    path = folder / PROFILE
    partial = path.with_name(f".{PROFILE}.part")
    partial.write_text(profile.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def processor_name() -> str:
    """The processor as Linux names it, else as Python does."""
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _smooth_noise() -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC))
