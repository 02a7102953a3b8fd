"""PSNR and MS-SSIM."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimtrain.figures.picture_quality import MAX_PSNR_DB, MIN_SIDE, ms_ssim, psnr_db
from support.toy_artifact import make_image


def _noisy(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_square_error() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)

    assert psnr_db(image, np.full_like(image, 105)) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr_db(image, image) == MAX_PSNR_DB


@pytest.mark.parametrize("sigma", [3.0, 25.0])
def test_ms_ssim_agrees_with_an_independent_implementation(sigma: float) -> None:
    other = pytest.importorskip("pytorch_msssim")
    image = make_image(192, 256)
    decoded = _noisy(image, sigma)

    def tensor(picture: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32))

    expected = other.ms_ssim(tensor(image), tensor(decoded), data_range=255).item()
    assert ms_ssim(image, decoded) == pytest.approx(expected, abs=2e-4)


def test_equal_pictures_have_similarity_one() -> None:
    image = make_image(MIN_SIDE, MIN_SIDE)

    assert ms_ssim(image, image) == pytest.approx(1.0)


def test_a_picture_too_small_for_five_scales_has_none() -> None:
    image = make_image(MIN_SIDE - 1, 300)

    assert ms_ssim(image, image) is None
