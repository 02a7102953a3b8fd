"""What encoding takes on this device at the camera's size, known or measured at the start.

    profile.json's calibration ─ this device? ─┐
    cache file of an earlier start ────────────┴─> seconds of every level, interpolated in pixels
        neither, or the first pictures take far longer or shorter ─> every level is timed now,
        and the cache file keeps that

A device is a processor's name and a number of threads. The name says nothing of a container's CPU
limit or of a busy neighbour, so what is known must agree with the first runs to within a factor of
2 (the median over the levels).

The cache file is `encode-<model>-<device>.json` in `EDGE_CACHE_FOLDER`, else in
`$XDG_CACHE_HOME/slimwire`, else in `~/.cache/slimwire`. Where it cannot be written, every start
measures; nothing else is lost.
"""

import asyncio
import hashlib
import logging
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.model.manifest import Calibration, Device, EncodeTiming, Profile
from slimcodec.whole_file import write_whole
from slimedge.encode.worker import EncodedFrame

logger = logging.getLogger(__name__)

REPEATS = 5  # of each timing; the median is kept
MAX_SIZES = 16  # of pictures in a cache file; the oldest go

# First guess of the encoder's time, seconds per pixel = _FIXED + _PER_KMAC * kMAC per pixel: what
# random weights took on two busy x86 cores (3.7 ms at 0.6 kMAC, 44 ms at 16; 640 x 480).
_FIXED_SECONDS_PER_PIXEL = 0.6e-8
_SECONDS_PER_KMAC = 1.0e-8

_AGREES = 2.0  # first runs may take so many times longer or shorter than what is known


@dataclass(eq=False)
class EncodeCalibration:
    """Encode seconds of one codec on one device, which cameras may share."""

    fingerprint: bytes  # of the codec
    profile: Profile | None  # of the codec; its calibration counts only if it is this device's
    device: Device  # this one
    cache_folder: Path | None  # where `keep` writes; None: nowhere

    def __post_init__(self) -> None:
        self.lock = asyncio.Lock()  # held by who warms up
        self.warm: set[tuple[int, int]] = set()  # sizes for which that was done
        self._path = None
        if self.cache_folder is not None:
            device = f"{self.device.processor}\n{self.device.threads}"
            name = hashlib.sha256(device.encode()).hexdigest()[:12]
            self._path = self.cache_folder / f"encode-{self.fingerprint.hex()}-{name}.json"
        self._cached = self._read()
        shipped = None if self.profile is None else self.profile.calibration
        self._shipped = shipped if self._is_here(shipped) else None

    @property
    def source(self) -> str:
        """Where what is known comes from, for people."""
        return "the model's profile" if self._cached is None else "an earlier start"

    def at(self, pixels: int, levels: Sequence[int]) -> dict[int, float] | None:
        """Give the seconds of levels for a picture of this size; None: not all are known."""
        known = self._cached or self._shipped
        if known is None:
            return None
        found = {level: known.encode_seconds(level, pixels) for level in levels}
        seconds = {level: value for level, value in found.items() if value is not None}
        return seconds if len(seconds) == len(found) else None

    def keep(self, image_hw: tuple[int, int], seconds: Mapping[int, float]) -> None:
        """Take what was measured here for known, now and at later starts."""
        height, width = image_hw
        before = () if self._cached is None else self._cached.timings
        timings = [t for t in before if (t.height, t.width) != image_hw or t.level not in seconds]
        timings += [
            EncodeTiming(level=level, height=height, width=width, encode_seconds=value)
            for level, value in seconds.items()
        ]
        sizes = list(dict.fromkeys((t.height, t.width) for t in reversed(timings)))[:MAX_SIZES]
        self._cached = Calibration(
            device=self.device.processor,
            threads=self.device.threads,
            timings=tuple(t for t in timings if (t.height, t.width) in sizes),
        )
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, self._cached.model_dump_json(indent=1) + "\n")
        except OSError as exc:
            reason = str(exc)
            logger.info(
                "encoder timings not kept; the next start measures", extra={"reason": reason}
            )

    def _is_here(self, calibration: Calibration | None) -> bool:
        return calibration is not None and self.device == (calibration.device, calibration.threads)

    def _read(self) -> Calibration | None:
        if self._path is None:
            return None
        try:
            found = Calibration.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:  # cut short, of another format: it is only a cache
            logger.info("encoder timings not read", extra={"reason": str(exc)})
            return None
        return found if self._is_here(found) else None


def guess_encode_seconds(kmac_per_pixel: float) -> float:
    """Guess the encoder's seconds per pixel before it has run on this device."""
    return _FIXED_SECONDS_PER_PIXEL + _SECONDS_PER_KMAC * kmac_per_pixel


async def warm_up(
    encode: Callable[[NDArray[np.uint8], int, float], Awaitable[EncodedFrame]],
    calibration: EncodeCalibration,
    image: NDArray[np.uint8],
    points: Sequence[tuple[int, float]],
) -> list[tuple[EncodedFrame, float]]:
    """Compile every level's graph for the camera's size, and give what each level takes.

    Args:
        encode: Encodes a picture at a (level, quality); a level's first run may take a second.
        points: One (level, quality) for each level that may be chosen.

    Returns:
        The encoded picture at each point, and its level's seconds.
    """
    frames = []
    for level, quality in points:
        frame = await encode(image, level, quality)
        if frame.image.shape[:2] not in calibration.warm:  # it has compiled the graph
            frame = await encode(image, level, quality)
        frames.append(frame)
    if not frames:
        return []
    height, width = frames[0].image.shape[:2]
    levels = [level for level, _ in points]
    known = calibration.at(height * width, levels)
    first = dict(zip(levels, (frame.seconds for frame in frames), strict=True))
    is_warm = (height, width) in calibration.warm
    if known is not None and (is_warm or _agree([first[level] / known[level] for level in levels])):
        logger.info("encoder timings known", extra={"reason": calibration.source})
        seconds = known
    else:
        why = "not known on this device" if known is None else f"not as in {calibration.source}"
        seconds = {
            level: statistics.median(
                [(await encode(image, level, quality)).seconds for _ in range(REPEATS)]
            )
            for level, quality in points
        }
        for level, value in seconds.items():
            logger.info(
                "encoder measured", extra={"width_level": level, "seconds": value, "reason": why}
            )
        await asyncio.to_thread(calibration.keep, (height, width), seconds)
    calibration.warm.add((height, width))
    return [(frame, seconds[level]) for level, frame in zip(levels, frames, strict=True)]


def _agree(ratios: Sequence[float]) -> bool:
    """Whether most levels take about as long as known; one run of a few milliseconds is noisy."""
    return 1 / _AGREES <= statistics.median(ratios) <= _AGREES
