"""Detections drawn over a picture, for people."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from slimcodec.detection import Detection

_GOLDEN_RATIO = 0.618034  # steps of this share of the colour circle keep neighbouring classes apart
_MIN_TEXT_PIXELS = 11


def draw_detections(image: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """Give a copy of `image`, (H, W, 3) uint8 RGB, with a labelled box for every detection."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    h, w = image.shape[:2]
    line = max(1, round(min(h, w) / 240))
    font = ImageFont.load_default(max(_MIN_TEXT_PIXELS, round(min(h, w) / 36)))
    # Weak boxes first, so that strong ones and their labels end up on top.
    for detection in sorted(detections, key=lambda d: d.score):
        colour = _colour(detection.class_id)
        x_min, y_min, x_max, y_max = _within(detection.box_xyxy, h, w)
        draw.rectangle((x_min, y_min, x_max, y_max), outline=colour, width=line)
        label = f"{detection.label or f'class {detection.class_id}'} {detection.score:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
        label_h = bottom - top + 2 * line
        label_w = right - left + 2 * line
        x = max(0, min(x_min, w - label_w))
        y = y_min - label_h if y_min >= label_h else y_min
        draw.rectangle((x, y, x + label_w, y + label_h), fill=colour)
        draw.text((x + line - left, y + line - top), label, fill=_text_colour(colour), font=font)
    return np.asarray(picture)


def _within(box: tuple[float, float, float, float], h: int, w: int) -> tuple[int, int, int, int]:
    """Give whole pixels inside the picture, in order: Pillow refuses boxes with x_max < x_min."""
    x_min, y_min, x_max, y_max = (round(side) for side in box)
    x_min, y_min = min(max(x_min, 0), w - 1), min(max(y_min, 0), h - 1)
    return x_min, y_min, min(max(x_max - 1, x_min), w - 1), min(max(y_max - 1, y_min), h - 1)


def _colour(class_id: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1.0, 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = background
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return (0, 0, 0) if luma > 128 else (255, 255, 255)
