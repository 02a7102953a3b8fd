"""Scaling down, and the first guess of the encoder's time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimedge.encode.calibration import guess_encode_seconds
from slimedge.encode.worker import scaled_hw, shrink


@pytest.mark.parametrize(
    ("image_hw", "max_edge", "expected_hw"),
    [
        ((480, 640), None, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((640, 480), 320, (320, 240)),
        ((1, 1000), 100, (1, 100)),
    ],
)
def test_a_picture_is_scaled_down_and_keeps_its_shape(
    image_hw: tuple[int, int], max_edge: int | None, expected_hw: tuple[int, int]
) -> None:
    image = np.full((*image_hw, 3), 77, np.uint8)

    scaled = shrink(image, max_edge)

    assert scaled.shape == (*expected_hw, 3)
    assert scaled.dtype == np.uint8
    assert np.unique(scaled).tolist() == [77]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(32, 200))
def test_the_size_is_known_before_scaling(height: int, width: int, edge: int) -> None:
    scaled = shrink(np.zeros((height, width, 3), np.uint8), edge)

    assert scaled.shape[:2] == scaled_hw((height, width), edge)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 90_000))
def test_a_picture_is_scaled_down_to_the_pixels_that_the_cloud_takes(
    height: int, width: int, limit: int
) -> None:
    h, w = scaled_hw((height, width), 200, limit)

    assert h * w <= max(limit, h, w)  # a side has one pixel at least
    assert (h, w) == scaled_hw((height, width), 200) or h * w > limit - h - w - 1


def test_a_heavier_level_is_guessed_to_take_longer() -> None:
    assert guess_encode_seconds(16.0) > guess_encode_seconds(0.6) > 0
