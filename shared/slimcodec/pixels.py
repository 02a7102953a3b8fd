"""Image -> x, and x_hat -> image: checked, scaled, padded; and how far two pictures are apart.

image uint8 (H, W, 3) --to_x--> x float32 (1, 3, H, W) --pad_to_multiple--> (1, 3, H', W')
x_hat --to_image--> image
"""

import math

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import MAX_PIXELS
from slimcodec.errors import ImageError

PEAK = 255.0
MAX_PSNR_DB = 100.0  # given for equal pictures, so that means stay finite


def check_image_hw(image_hw: tuple[int, int], max_pixels: int, label: str = "picture") -> None:
    """Refuse a picture that is larger than the limit or the format allow.

    Raises:
        ImageError: naming what was found, the limit, and what to do.
    """
    h, w = image_hw
    limit = min(max_pixels, MAX_PIXELS)
    if h < 1 or w < 1 or max(h, w) > 0xFFFF:
        raise ImageError(f"{label} is {w}x{h}; sides must be 1 to 65535 pixels")
    if h * w > limit:
        remedy = "shrink the picture"
        if limit < MAX_PIXELS:
            remedy += f" or raise max_pixels (the format's own limit is {MAX_PIXELS})"
        raise ImageError(
            f"{label} is {w}x{h} = {h * w} pixels; at most {limit} are allowed; {remedy}"
        )


def check_image(image: NDArray[np.uint8], max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an array that is not uint8 (H, W, 3) within the limits.

    Raises:
        ImageError: naming what was found and expected.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    check_image_hw((image.shape[0], image.shape[1]), max_pixels)


def to_x(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return `x` (1, 3, H, W) float32 in [0, 1] of an image uint8 (H, W, 3)."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis])
    return planes.astype(np.float32) / np.float32(255)


def to_image(x_hat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) of `x_hat` (1, 3, H, W), clipped to [0, 1] and rounded."""
    samples = np.rint(np.clip(np.nan_to_num(x_hat[0]), 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(samples.transpose(1, 2, 0))


def pad_to_multiple(x: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Return `x` (..., H, W) with its last row and column repeated up to the next multiple."""
    h, w = x.shape[-2:]
    padding = [(0, 0)] * (x.ndim - 2) + [(0, -h % multiple), (0, -w % multiple)]
    return np.pad(x, padding, mode="edge") if any(after for _, after in padding) else x


def psnr_db(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Over all samples of two RGB pictures of one size, in dB."""
    if original.shape != decoded.shape:
        raise ValueError(f"pictures of {original.shape} and {decoded.shape} cannot be compared")
    error = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
    return psnr_db_of_error(float(error))


def psnr_db_of_error(mean_squared_error: float, peak: float = PEAK) -> float:
    """In dB; NaN where the error is.

    Args:
        peak: the greatest value that a sample can have.
    """
    if mean_squared_error == 0:
        return MAX_PSNR_DB
    return min(10 * math.log10(peak**2 / mean_squared_error), MAX_PSNR_DB)
