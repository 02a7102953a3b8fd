import math

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.errors import ImageError
from slimcodec.pixels import (
    MAX_PSNR_DB,
    check_image,
    pad_to_multiple,
    psnr_db,
    psnr_db_of_error,
    to_image,
    to_x,
)
from support.models.toy_artifact import make_image


def test_x_and_back_is_the_same_image() -> None:
    image = make_image(17, 33)

    x = to_x(image)

    assert x.shape == (1, 3, 17, 33)
    assert x.dtype == np.float32
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert np.array_equal(to_image(x), image)


def test_samples_out_of_range_are_clipped() -> None:
    x_hat = np.array([-1, 0, 0.5, 1, 7, np.nan], np.float32).reshape(1, 1, 1, 6)

    image = to_image(np.repeat(x_hat, 3, axis=1))

    assert image[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


@pytest.mark.parametrize(
    ("hw", "padded"), [((1, 1), (32, 32)), ((32, 64), (32, 64)), ((33, 5), (64, 32))]
)
def test_padding_repeats_the_last_row_and_column_and_crop_removes_it(
    hw: tuple[int, int], padded: tuple[int, int]
) -> None:
    x = to_x(make_image(*hw))

    wide = pad_to_multiple(x, 32)

    assert wide.shape == (1, 3, *padded)
    assert np.array_equal(wide[..., : hw[0], : hw[1]], x)
    assert (wide[..., :, hw[1] :] == wide[..., :, hw[1] - 1 : hw[1]]).all()
    assert (wide[..., hw[0] :, :] == wide[..., hw[0] - 1 : hw[0], :]).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_array_that_is_no_image_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError):
        check_image(image)


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
