"""Intervals over links: right for cases that can be worked out, the same on every run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from studies.controller.comparison.bootstrap import draw_links, estimate_mean, estimate_ratio


def test_the_first_draw_is_the_links_themselves() -> None:
    draws = draw_links(7, num_draws=50)

    assert draws.shape == (51, 7)
    assert (draws[0] == 1).all()
    assert (draws.sum(axis=1) == 7).all()


def test_links_that_agree_leave_no_doubt() -> None:
    estimate = estimate_mean([0.5] * 10)

    assert estimate == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_is_that_of_the_normal_law_for_many_links() -> None:
    values = np.random.default_rng(3).normal(0.7, 0.1, 400)

    estimate = estimate_mean(values.tolist())

    error = values.std() / math.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_a_ratio_of_the_same_links_is_paired() -> None:
    bounds = [0.2, 0.9, 0.5, 0.7]

    estimate = estimate_ratio([0.9 * bound for bound in bounds], bounds)

    assert estimate == pytest.approx((0.9, 0.9, 0.9))


def test_without_a_reference_there_is_no_ratio() -> None:
    assert all(math.isnan(value) for value in estimate_ratio([1.0], [0.0]))
    assert all(math.isnan(value) for value in estimate_ratio([1.0], [math.nan]))


def test_the_same_links_give_the_same_interval() -> None:
    values = [0.1, 0.5, 0.4, 0.9]

    assert estimate_mean(values) == estimate_mean(values)
