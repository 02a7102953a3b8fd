"""Seconds measured at some sizes, asked for at others."""

from __future__ import annotations

import pytest

from slimcodec.model.manifest import Calibration, EncodeTiming, Profile, this_device

TIMED = Calibration(
    device="a processor",
    timings=tuple(
        EncodeTiming(level=0, height=height, width=100, encode_seconds=seconds)
        for height, seconds in ((200, 0.030), (100, 0.010))
    ),
)


@pytest.mark.parametrize(
    ("pixels", "seconds"),
    [
        (10_000, 0.010),
        (20_000, 0.030),
        (15_000, 0.020),  # between the two
        (5_000, 0.005),  # in proportion to the smallest
        (40_000, 0.060),  # in proportion to the largest
    ],
)
def test_seconds_are_interpolated_in_pixels(pixels: int, seconds: float) -> None:
    assert TIMED.encode_seconds(0, pixels) == pytest.approx(seconds)


def test_a_level_that_was_not_timed_has_no_seconds() -> None:
    assert TIMED.encode_seconds(1, 10_000) is None


def test_a_profile_from_before_utility_is_read() -> None:
    profile = Profile.model_validate_json(
        '{"points": [{"level": 0, "quality": 0, "bpp": 0.1, "map50_relative": 0.8}], "pictures": 3,'
        ' "calibration": {"device": "old", "timings": []}}'
    )

    assert profile.points[0].utility is None
    assert profile.utility_source is None
    assert profile.calibration is not None
    assert profile.calibration.threads is None


def test_this_device_has_a_name_and_threads() -> None:
    assert this_device().processor
    assert this_device().threads >= 1
    assert this_device(3).threads == 3
