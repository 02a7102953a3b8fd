"""How far a picture is from another, as a person measures it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr_db(image: NDArray[np.uint8], image_hat: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all RGB samples, dB; infinite for equal pictures.

    Args:
        image: what it should be, uint8 (H, W, 3).
        image_hat: what it is, of the same shape.
    """
    if image.shape != image_hat.shape:
        raise ValueError(f"pictures of {image.shape} and {image_hat.shape} cannot be compared")
    error = np.mean((image.astype(np.float64) - image_hat.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / float(error))
