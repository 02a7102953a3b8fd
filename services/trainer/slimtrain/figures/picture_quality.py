"""How near a decoded picture is to the original, with numpy alone: PSNR and MS-SSIM."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
MIN_SIDE = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)
"""A picture with a shorter side has no window at the coarsest of five scales."""
MAX_PSNR_DB = 100.0
"""Given for equal pictures, so that means stay finite."""

Array = NDArray[np.float32]


def psnr_db(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all samples of two RGB pictures, in dB."""
    error = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
    if error == 0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, 10 * math.log10(PEAK**2 / float(error)))


def ms_ssim(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float | None:
    """Multi-scale structural similarity, the mean of R, G and B; None for too small a picture.

    Source: Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment,
    Asilomar 2003, equation 7 and section 3.2; windows that leave the picture are not used.
    """
    if min(original.shape[:2]) < MIN_SIDE:
        return None
    a = original.transpose(2, 0, 1).astype(np.float32)  # (3, H, W)
    b = decoded.transpose(2, 0, 1).astype(np.float32)
    product = np.ones(3)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            a, b = _halve(a), _halve(b)
        luminance, contrast = _ssim_terms(a, b)  # (3,) each
        last = scale == len(SCALE_WEIGHTS) - 1
        product *= np.maximum(luminance if last else contrast, 0) ** weight
    return float(product.mean())


def _ssim_terms(a: Array, b: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over the picture of SSIM and of its contrast-structure term, by channel."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a * mean_a
    variance_b = _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    contrast = (2 * covariance + C2) / (variance_a + variance_b + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return (
        (luminance * contrast).mean(axis=(1, 2), dtype=np.float64),
        contrast.mean(axis=(1, 2), dtype=np.float64),
    )


def _blur(x: Array) -> Array:
    """Gaussian window, only where it fits: (3, H, W) -> (3, H - 10, W - 10)."""
    taps = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    taps = (taps / taps.sum()).astype(np.float32)
    h, w = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    rows = taps[0] * x[:, :h]
    for k in range(1, WINDOW):
        rows += taps[k] * x[:, k : k + h]
    blurred: Array = taps[0] * rows[:, :, :w]
    for k in range(1, WINDOW):
        blurred += taps[k] * rows[:, :, k : k + w]
    return blurred


def _halve(x: Array) -> Array:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :h, :w]
    halved: Array = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    return halved
