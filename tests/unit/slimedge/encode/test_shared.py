"""Shares of one encoder thread: max-min fair among what cameras want."""

from __future__ import annotations

import pytest

from slimedge.encode.shared import FairShares


def shares_of(wanted: dict[str, tuple[float, float]], seconds: float) -> dict[str, float | None]:
    """The last share of each camera with so many frames a second of so many seconds each."""
    fair, shares = FairShares(), dict.fromkeys(wanted)
    due = sorted(
        (n / fps, camera) for camera, (fps, _) in wanted.items() for n in range(int(seconds * fps))
    )
    for now, camera in due:
        shares[camera] = fair.of(camera, wanted[camera][1], now)
    return shares


def test_cameras_that_find_room_have_no_bound() -> None:
    assert shares_of({"a": (1.0, 0.1), "b": (5.0, 0.1)}, 10) == {"a": None, "b": None}
    assert shares_of({"alone": (25.0, 0.1)}, 10) == {"alone": None}


def test_equal_cameras_that_want_too_much_have_equal_parts() -> None:
    shares = shares_of(dict.fromkeys("abcdefgh", (5.0, 0.05)), 10)

    assert all(share == pytest.approx(0.1) for share in shares.values())


def test_what_one_does_not_want_is_left_to_the_others() -> None:
    shares = shares_of({"small": (1.0, 0.1), "a": (10.0, 0.1), "b": (10.0, 0.1)}, 10)

    assert shares["a"] == pytest.approx((0.8 - 0.1) / 2, rel=0.02)


def test_a_camera_that_stops_leaves_its_part() -> None:
    fair = FairShares()
    for n in range(20):
        for camera in ("gone", "left"):
            share = fair.of(camera, 0.1, n / 10)
    assert share == pytest.approx(0.4)

    for n in range(20, 60):
        share = fair.of("left", 0.05, n / 10)

    assert share is None
