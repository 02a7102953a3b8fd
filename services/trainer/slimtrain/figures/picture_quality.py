"""How near a decoded picture is to the original, as people see it: MS-SSIM, by pytorch-msssim."""

import numpy as np
import pytorch_msssim
import torch
from numpy.typing import NDArray
from torch import Tensor

MIN_SIDE = 161  # a picture with a shorter side has no window at the coarsest of five scales


def ms_ssim(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float | None:
    """Multi-scale structural similarity, the mean of R, G and B; None for too small a picture.

    Source: Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment,
    Asilomar 2003.
    """
    if min(original.shape[:2]) < MIN_SIDE:
        return None
    return float(pytorch_msssim.ms_ssim(_batch(original), _batch(decoded), data_range=255))


def _batch(picture: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W) float32, 0 to 255."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()
