"""MS-SSIM."""

import numpy as np
import pytest

from slimtrain.evaluation.operating_point import MIN_SIDE, ms_ssim
from support.models.toy_artifact import make_image


# of pictures with sides that halve evenly, by the numpy implementation that was here before
@pytest.mark.parametrize(("sigma", "before"), [(3.0, 0.990015853), (25.0, 0.703616715)])
def test_ms_ssim_is_what_it_was(sigma: float, before: float) -> None:
    image = make_image(192, 256)
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)

    measured = ms_ssim(image, np.clip(image + noise, 0, 255).astype(np.uint8))

    assert measured == pytest.approx(before, abs=5e-6)


def test_equal_pictures_have_similarity_one() -> None:
    image = make_image(MIN_SIDE, MIN_SIDE)

    assert ms_ssim(image, image) == pytest.approx(1.0)


def test_a_picture_too_small_for_five_scales_has_none() -> None:
    image = make_image(MIN_SIDE - 1, 300)

    assert ms_ssim(image, image) is None
