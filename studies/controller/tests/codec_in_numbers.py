"""A codec in numbers for simulations: the sample video's recording, with default points."""

from __future__ import annotations

from slimcontrol.point import OperatingPoint
from studies.controller.comparison.codec_figures import MODEL, CodecFigures
from studies.controller.simulation.content import load_street


def make_figures() -> CodecFigures:
    """The recorded points; bits as recorded, utility rising with quality, then with level."""
    content = load_street().alone
    height, width = content.image_hw
    bpp = content.sizes.mean(axis=0) * 8 / (height * width)
    points = tuple(
        OperatingPoint(level, quality, float(bits), 0.7 + 0.04 * quality + 0.01 * level)
        for level, quality, bits in zip(content.levels, content.qualities, bpp, strict=True)
    )
    seconds = {level: (1 + level) * 15e-9 for level in set(content.levels)}
    return CodecFigures(MODEL, points, content, seconds)
