"""Operating points, measured and default."""

from __future__ import annotations

import pytest

from slimcodec.container import round_quality
from slimcodec.model.manifest import Level, Profile, ProfilePoint
from slimcontrol.errors import ControlError
from slimcontrol.profile import build_operating_points, default_operating_points, restrict_points

LEVELS = tuple(
    Level(level=n, latent_channels=channels, kmac_per_pixel=1.0)
    for n, channels in enumerate((32, 64, 128))
)
QUALITIES = 4


def make_profile(*, with_map: bool = True, leave_out: tuple[int, int] | None = None) -> Profile:
    return Profile(
        points=tuple(
            ProfilePoint(
                level=level,
                quality=quality,
                bpp=0.1 + level + quality,
                map50_relative=0.5 + 0.01 * quality if with_map else None,
            )
            for level in range(len(LEVELS))
            for quality in range(QUALITIES)
            if (level, quality) != leave_out
        ),
        pictures=10,
    )


def make_worth(utility: list[list[float | None]], map50_relative: float | None = None) -> Profile:
    """Two levels of three qualities."""
    return Profile(
        points=tuple(
            ProfilePoint(
                level=level,
                quality=q,
                bpp=0.1 * (q + 1),
                utility=worth,
                map50_relative=map50_relative,
            )
            for level, row in enumerate(utility)
            for q, worth in enumerate(row)
        ),
        pictures=10,
    )


def test_default_bits_and_utility_rise_with_level_and_with_quality() -> None:
    points = {(p.level, p.quality): p for p in default_operating_points((32, 64, 128), QUALITIES)}

    for (level, quality), point in points.items():
        for neighbour in ((level + 1, quality), (level, quality + 1)):
            if neighbour in points:
                assert points[neighbour].bpp > point.bpp
                assert points[neighbour].utility > point.utility


def test_a_measured_profile_gives_bits_and_utility() -> None:
    points = build_operating_points(LEVELS, QUALITIES, make_profile())

    assert len(points) == len(LEVELS) * QUALITIES
    assert (points[-1].bpp, points[-1].utility) == (5.1, 0.53)


def test_a_profile_without_map_gives_bits_only() -> None:
    points = build_operating_points(LEVELS, QUALITIES, make_profile(with_map=False))

    defaults = default_operating_points((32, 64, 128), QUALITIES)
    assert [p.utility for p in points] == [p.utility for p in defaults]
    assert points[-1].bpp == 5.1


def test_noise_of_the_pictures_is_smoothed_away() -> None:
    noisy: list[list[float | None]] = [[0.5, 0.8, 0.76], [0.6, 0.7, 0.9]]

    points = build_operating_points(LEVELS[:2], 3, make_worth(noisy, map50_relative=0.1))

    worth = {(point.level, point.quality): point.utility for point in points}
    for (level, quality), utility in worth.items():
        assert worth.get((level + 1, quality), 1.0) >= utility
        assert worth.get((level, quality + 1), 1.0) >= utility
    assert worth[0, 0] == pytest.approx(0.5)
    assert worth[1, 0] == pytest.approx(0.6)
    assert worth[0, 1] == worth[1, 1] == pytest.approx(0.75)
    assert worth[1, 2] == pytest.approx(0.9)


def test_utility_that_not_all_points_have_is_not_used() -> None:
    partial: list[list[float | None]] = [[0.5, 0.6, 0.7], [0.6, 0.7, None]]

    points = build_operating_points(LEVELS[:2], 3, make_worth(partial, map50_relative=0.25))

    assert [point.utility for point in points] == pytest.approx([0.25] * 6)


def test_a_profile_with_a_gap_is_refused_and_the_gap_is_named() -> None:
    with pytest.raises(ControlError, match="level 1, quality 2"):
        build_operating_points(LEVELS, QUALITIES, make_profile(leave_out=(1, 2)))


def test_a_fixed_or_a_widest_level_leaves_only_its_points() -> None:
    points = default_operating_points((32, 64, 128), QUALITIES)

    assert {p.level for p in restrict_points(points, 2, None)} == {2}
    assert [(p.level, p.quality) for p in restrict_points(points, 1, 3)] == [(1, 3)]
    assert {p.level for p in restrict_points(points, None, None, max_level=1)} == {0, 1}
    with pytest.raises(
        ControlError, match="^level 7 was asked for; the model has levels 0 to 2 and"
    ):
        restrict_points(points, 7, None)


def test_quality_between_two_trained_ones_has_bits_and_worth_between_theirs() -> None:
    points = default_operating_points((32, 64, 128), QUALITIES)

    (between,) = restrict_points(points, 1, 2.5)
    (exact,) = restrict_points(points, 1, 3.0)

    low, high = (p for p in points if p.level == 1 and p.quality in (2, 3))
    assert between.quality == 2.5
    assert between.bpp == pytest.approx((low.bpp * high.bpp) ** 0.5)
    assert between.utility == pytest.approx((low.utility + high.utility) / 2)
    assert exact == high


def test_quality_is_rounded_as_the_encoder_rounds_it() -> None:
    points = default_operating_points((32,), QUALITIES)

    (point,) = restrict_points(points, None, 1.7)

    assert point.quality == round_quality(1.7)


def test_quality_beyond_the_finest_is_refused() -> None:
    points = default_operating_points((32,), QUALITIES)

    with pytest.raises(ControlError, match=f"qualities 0 to {QUALITIES - 1}"):
        restrict_points(points, None, QUALITIES - 0.5)
