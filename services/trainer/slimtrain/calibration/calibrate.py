"""What a codec costs and is worth on this device, for its controller: its `profile.json`.

    one picture of each size -Encoder, median-> seconds by (level, size) -------------+-> profile
    pictures -measure_pictures-> bits per pixel, mAP50 kept, by (level, quality) -----'

What else the profile says is kept. No torch; without a detector, seconds and bytes only.
"""

import statistics
from collections.abc import Sequence

import numpy as np
from PIL import Image

from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.manifest import Calibration, Device, EncodeTiming, Profile
from slimtrain.calibration.measure import (
    Picture,
    PicturePoints,
    Utilities,
    mean_bpp,
    measure_utilities,
)
from slimtrain.calibration.profile import merge_calibration, write_profile
from slimtrain.figures.mean_average_precision import Labels

REPEATS = 9  # of each timing; the median is kept
_WARM_UP = 2  # encodings that are not timed: graphs compile, caches fill

Resolution = tuple[int, int]  # height, width, pixels


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
