"""The baselines of every table: JPEG, WebP, AVIF and HEVC intra, as a careful user has them.

    image -code-> whole file -> decoded picture, then the same uncut detector

Colour is 4:2:0 in all four. JPEG has Huffman tables made for the picture, WebP its slowest method,
AVIF Pillow's default speed; how HEVC is made is in `baseline_hevc`. `setting` names all that
decides the bytes, libraries and versions too, so that results of other settings are never mixed in.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from slimtrain.evaluation.baseline_hevc import HEVC_SETTING, decode_hevc, encode_hevc

AVIF_SPEED = 6
WEBP_METHOD = 6


@dataclass(frozen=True)
class CodedImage:
    """One picture through a classic codec."""

    bitstream: bytes  # the whole file
    image_hat: NDArray[np.uint8]  # (H, W, 3) RGB
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Baseline:
    """A classic codec and the qualities that the report has of it.

    `ladder` is in the codec's own scale: 0-100, more is better; for HEVC the quantiser parameter,
    0-51, less is better.
    """

    name: str
    ladder: tuple[int, ...]
    setting: str
    encode: Callable[[NDArray[np.uint8], int], bytes]
    decode: Callable[[bytes, tuple[int, int]], NDArray[np.uint8]]

    def code(self, image: NDArray[np.uint8], quality: int) -> CodedImage:
        """A picture, uint8 (H, W, 3) RGB, there and back."""
        started = time.perf_counter()
        bitstream = self.encode(image, quality)
        encoded = time.perf_counter()
        image_hat = self.decode(bitstream, (image.shape[0], image.shape[1]))
        decoded = time.perf_counter()
        return CodedImage(bitstream, image_hat, encoded - started, decoded - encoded)


def _encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    return _save(image, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")


def _encode_webp(image: NDArray[np.uint8], quality: int) -> bytes:
    return _save(image, "WEBP", quality=quality, method=WEBP_METHOD)


def _encode_avif(image: NDArray[np.uint8], quality: int) -> bytes:
    return _save(image, "AVIF", quality=quality, speed=AVIF_SPEED, subsampling="4:2:0")


def _save(image: NDArray[np.uint8], file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, file_format, **options)
    return stream.getvalue()


def _decode_by_pillow(bitstream: bytes, image_hw: tuple[int, int]) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(bitstream)) as opened:
        image_hat = np.array(opened.convert("RGB"), dtype=np.uint8)
    assert image_hat.shape[:2] == image_hw
    return image_hat


def _versions(feature: str) -> str:
    return f"Pillow {PIL.__version__}, {feature} {features.version(feature)}"


JPEG = Baseline(
    "jpeg",
    (5, 8, 12, 16, 20, 30, 40, 50, 65, 80, 90),
    f"4:2:0, Huffman tables made for the picture; {_versions('jpg')}",
    _encode_jpeg,
    _decode_by_pillow,
)
WEBP = Baseline(
    "webp",
    (1, 5, 10, 20, 30, 40, 50, 65, 80, 90),
    f"4:2:0, method {WEBP_METHOD}; {_versions('webp')}",
    _encode_webp,
    _decode_by_pillow,
)
AVIF = Baseline(
    "avif",
    (5, 15, 25, 35, 45, 55, 65, 75, 85),
    f"4:2:0, speed {AVIF_SPEED}; {_versions('avif')}",
    _encode_avif,
    _decode_by_pillow,
)
HEVC = Baseline(
    "hevc", (51, 48, 45, 42, 39, 36, 33, 30, 27, 24), HEVC_SETTING, encode_hevc, decode_hevc
)
BASELINES: Mapping[str, Baseline] = {codec.name: codec for codec in (JPEG, WEBP, AVIF, HEVC)}
"""By name, in the order of the report."""
