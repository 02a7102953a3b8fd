"""What a codec costs and gives, as a world needs it: points, bytes of real frames, encode times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files

from slimcodec.model.manifest import Calibration, Level, Profile
from slimcontrol.point import OperatingPoint
from slimcontrol.profile import build_operating_points
from studies.controller.comparison.classic_codec import CLASSIC_CODECS
from studies.controller.simulation.content import Content, read_content

MODEL = "model"  # the name of the product's codec among others

# Seconds per pixel of slim-n/3 at levels 0 to 3, quality 2, 768 x 576: processor time on one core
# of an AMD EPYC, medians over ten frames of the sample video. Where the profile has no timings.
_MEASURED_SECONDS_PER_PIXEL = (14.7e-9, 21.0e-9, 49.5e-9, 94.0e-9)


@dataclass(frozen=True)
class CodecFigures:
    """One codec in numbers."""

    name: str
    points: tuple[OperatingPoint, ...]
    content: Content
    encode_seconds_per_pixel: Mapping[int, float]  # by level, where nothing else is known
    calibration: Calibration | None = None  # what was measured at several sizes

    def encode_seconds(self, level: int, pixels: int) -> float:
        """Give the seconds of one picture."""
        known = self.calibration.encode_seconds(level, pixels) if self.calibration else None
        return self.encode_seconds_per_pixel[level] * pixels if known is None else known


def model_figures(
    levels: Sequence[Level],
    qualities: int,
    profile: Profile | None,
    content: Content,
) -> CodecFigures:
    """Give those of a model.

    Args:
        levels, qualities, profile: As its manifest and profile say.
        content: A recording with this model.
    """
    guesses = _MEASURED_SECONDS_PER_PIXEL
    return CodecFigures(
        MODEL,
        build_operating_points(levels, qualities, profile),
        content,
        {level: guesses[min(level, len(guesses) - 1)] for level in range(len(levels))},
        None if profile is None else profile.calibration,
    )


def classic_figures(name: str) -> CodecFigures:
    """Give those of JPEG or WebP."""
    codec = CLASSIC_CODECS[name]
    with as_file(files("studies.controller.simulation") / f"street_{name}.npz") as path:
        content = read_content(path)
    return CodecFigures(name, codec.points(), content, {0: codec.encode_seconds_per_pixel})
