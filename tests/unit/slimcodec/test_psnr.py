"""PSNR."""

import math

import numpy as np
import pytest

from slimcodec.psnr import MAX_PSNR_DB, psnr_db, psnr_db_of_error


def test_psnr_is_that_of_the_mean_square_error() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)

    assert psnr_db(image, np.full_like(image, 105)) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr_db(image, image) == MAX_PSNR_DB


def test_pictures_of_different_sizes_cannot_be_compared() -> None:
    image = np.zeros((8, 8, 3), np.uint8)

    with pytest.raises(ValueError, match="cannot be compared"):
        psnr_db(image, image[:-1])


def test_unknown_error_has_an_unknown_psnr() -> None:
    assert math.isnan(psnr_db_of_error(math.nan))
    assert psnr_db_of_error(0.01, peak=1.0) == pytest.approx(20.0)
