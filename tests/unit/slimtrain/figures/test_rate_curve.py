"""Fronts of curves, BD-rates, and the rate that a figure needs."""

import math

import pytest

from slimtrain.figures.rate_curve import (
    CurvePoint,
    NeededRate,
    bd_rate,
    front,
    needed_rate,
    saving_percent,
)


def _curve(*points: tuple[float, float]) -> list[CurvePoint]:
    return [CurvePoint(bpp, value) for bpp, value in points]


GROWING = _curve((0.1, 20.0), (0.2, 24.0), (0.4, 28.0), (0.8, 32.0))


def test_the_front_leaves_out_what_another_point_beats() -> None:
    noisy = _curve((0.1, 0.30), (0.2, 0.25), (0.3, 0.40), (0.3, 0.35), (0.5, 0.40), (0.6, 0.41))

    assert front(noisy) == _curve((0.1, 0.30), (0.3, 0.40), (0.6, 0.41))
    assert front(_curve((0.1, math.nan))) == []


def test_half_the_rate_is_minus_fifty_percent() -> None:
    halved = [CurvePoint(point.bpp / 2, point.value) for point in GROWING]

    assert bd_rate(GROWING, halved).percent == pytest.approx(-50)
    assert bd_rate(halved, GROWING).percent == pytest.approx(100)
    assert bd_rate(GROWING, halved).shared == (20.0, 32.0)


def test_a_straight_line_in_log_rate_is_met_by_the_published_formula() -> None:
    # log10 R = (D - 20) / 20 against (D - 21) / 20: a twentieth of a decade less everywhere.
    anchor = _curve(*((10 ** ((d - 20) / 20), float(d)) for d in range(20, 30, 2)))
    test = _curve(*((10 ** ((d - 21) / 20), float(d)) for d in range(20, 30, 2)))

    assert bd_rate(anchor, test).percent == pytest.approx(100 * (10 ** (-1 / 20) - 1))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (_curve((0.1, 40.0), (0.2, 41.0), (0.3, 42.0)), "nothing shared"),
        (_curve((0.1, 31.0), (0.2, 35.0), (0.3, 39.0)), "12% shared"),
        (_curve((0.1, 20.0), (0.2, 30.0)), "a front of 2"),
        (_curve((0.1, 30.0), (0.2, 25.0), (0.3, 21.0)), "a front of 1"),
    ],
)
def test_curves_that_share_too_little_have_a_reason(other: list[CurvePoint], reason: str) -> None:
    found = bd_rate(GROWING, other)

    assert found.percent is None
    assert reason in found.reason


def test_the_needed_rate_is_read_between_points_in_log_rate() -> None:
    between = needed_rate(GROWING, 26.0)

    assert between is not None
    assert between.bpp == pytest.approx(math.sqrt(0.2 * 0.4))
    assert not between.is_at_most
    assert needed_rate(GROWING, 20.0) == NeededRate(0.1)
    assert needed_rate(GROWING, 19.0) == NeededRate(0.1, is_at_most=True)
    assert needed_rate(GROWING, 32.1) is None


def test_a_saving_needs_both_rates() -> None:
    assert saving_percent(NeededRate(0.1), NeededRate(0.4)) == pytest.approx(75)
    assert saving_percent(NeededRate(0.1, is_at_most=True), NeededRate(0.4)) == pytest.approx(75)
    assert saving_percent(NeededRate(0.1), NeededRate(0.4, is_at_most=True)) is None
    assert saving_percent(None, NeededRate(0.4)) is None
    assert saving_percent(NeededRate(0.1), None) is None
