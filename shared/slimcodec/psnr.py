"""Peak signal-to-noise ratio of a decoded picture."""

import math

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
MAX_PSNR_DB = 100.0  # given for equal pictures, so that means stay finite


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
