"""The baseline of every table: JPEG, then the same uncut detector on the decoded picture."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITIES = (5, 10, 20, 30, 50, 70, 85, 95)
"""From unrecognisable to transparent."""


@dataclass(frozen=True)
class JpegImage:
    """One picture through JPEG."""

    bitstream: bytes
    image_hat: NDArray[np.uint8]  # (H, W, 3) RGB
    encode_seconds: float
    decode_seconds: float


def code_jpeg(image: NDArray[np.uint8], quality: int) -> JpegImage:
    """A picture through JPEG as a careful user has it: 4:2:0, Huffman tables made for the picture.

    Args:
        image: uint8 (H, W, 3) RGB.
        quality: libjpeg's, 1-100.
    """
    started = time.perf_counter()
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    bitstream = stream.getvalue()
    encoded = time.perf_counter()
    with Image.open(io.BytesIO(bitstream)) as opened:
        image_hat = np.array(opened.convert("RGB"), dtype=np.uint8)
    decoded = time.perf_counter()
    return JpegImage(bitstream, image_hat, encoded - started, decoded - encoded)
