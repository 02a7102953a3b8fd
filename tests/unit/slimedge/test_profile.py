"""Operating points, measured and default."""

from __future__ import annotations

import pytest

from slimcodec.manifest import Level, Profile, ProfilePoint
from slimedge.errors import EdgeError
from slimedge.profile import (
    build_operating_points,
    default_operating_points,
    restrict_points,
)

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


def test_a_profile_with_a_gap_is_refused_and_the_gap_is_named() -> None:
    with pytest.raises(EdgeError, match="level 1, quality 2"):
        build_operating_points(LEVELS, QUALITIES, make_profile(leave_out=(1, 2)))


def test_a_fixed_or_a_widest_level_leaves_only_its_points() -> None:
    points = default_operating_points((32, 64, 128), QUALITIES)

    assert {p.level for p in restrict_points(points, 2, None)} == {2}
    assert [(p.level, p.quality) for p in restrict_points(points, 1, 3)] == [(1, 3)]
    assert {p.level for p in restrict_points(points, None, None, max_level=1)} == {0, 1}
    with pytest.raises(EdgeError, match="levels 0 to 2 and qualities 0 to 3"):
        restrict_points(points, 7, None)
