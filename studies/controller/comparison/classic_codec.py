"""JPEG and WebP as a camera's codec: the same camera, link, cloud and detector, other files.

    quality of the codec ─► point of level 0: measured bits per pixel, measured mAP50 kept

Measured by `slimwire evaluate` (docs/develop/measured.md, "The other codecs"),
the uncut detector on decoded pictures: mAP50 over the frequent classes, relative to uncompressed,
as the models' profiles have it; smoothed in the same way. Bytes of single frames come from a
recording of the sample video. Seconds to encode: processor time on one core of an AMD EPYC, means
of the medians at a coarse and a middling quality over ten frames of the sample video.
"""

from __future__ import annotations

from dataclasses import dataclass

from slimcontrol.point import OperatingPoint
from slimcontrol.profile import smooth_monotone


@dataclass(frozen=True)
class ClassicCodec:
    """What evaluation measured of a codec that everybody has."""

    name: str
    rows: tuple[tuple[int, float, float], ...]  # quality, bits per pixel, mAP50 kept
    encode_seconds_per_pixel: float

    def points(self) -> tuple[OperatingPoint, ...]:
        """Its qualities as operating points of level 0."""
        (kept,) = smooth_monotone([[kept for _, _, kept in self.rows]])
        return tuple(
            OperatingPoint(0, float(quality), bpp, utility)
            for (quality, bpp, _), utility in zip(self.rows, kept, strict=True)
        )


JPEG = ClassicCodec(
    "jpeg",
    (
        (5, 0.1662, 0.568),
        (8, 0.2413, 0.792),
        (12, 0.3308, 0.904),
        (16, 0.4136, 0.904),
        (20, 0.4868, 0.918),
        (30, 0.6568, 0.933),
        (40, 0.7801, 0.945),
        (50, 0.9384, 0.974),
        (65, 1.1984, 0.961),
        (80, 1.7451, 0.949),
        (90, 2.3020, 0.988),
    ),
    encode_seconds_per_pixel=4.1e-9,
)
WEBP = ClassicCodec(
    "webp",
    (
        (1, 0.1871, 0.854),
        (5, 0.2587, 0.926),
        (10, 0.3234, 0.995),
        (20, 0.4350, 1.006),
        (30, 0.5437, 1.008),
        (40, 0.6537, 1.000),
        (50, 0.7567, 0.994),
        (65, 0.9129, 0.980),
        (80, 1.2582, 0.976),
        (90, 1.9814, 0.974),
    ),
    encode_seconds_per_pixel=97e-9,
)

CLASSIC_CODECS = {codec.name: codec for codec in (JPEG, WEBP)}
