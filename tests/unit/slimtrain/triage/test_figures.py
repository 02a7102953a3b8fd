from __future__ import annotations

import numpy as np
import pytest

from slimtrain.triage.train import (
    area_under_roc,
    average_precision,
    choose_threshold,
    measure_threshold,
)

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
TRUTH = np.array([True, True, False, True, False, False])


def test_area_is_the_chance_of_the_right_order() -> None:
    assert area_under_roc(SCORES, TRUTH) == pytest.approx(8 / 9)
    assert area_under_roc(SCORES, ~TRUTH) == pytest.approx(1 / 9)


def test_ties_count_half() -> None:
    assert area_under_roc(np.full(6, 0.3, np.float32), TRUTH) == pytest.approx(0.5)


def test_average_precision_is_the_mean_of_the_precisions_at_the_hits() -> None:
    assert average_precision(SCORES, TRUTH) == pytest.approx((1 + 1 + 3 / 4) / 3)


@pytest.mark.parametrize(
    ("recall", "threshold", "false_positives"), [(0.6, 0.8, 0), (0.67, 0.6, 1), (1.0, 0.6, 1)]
)
def test_threshold_is_the_highest_that_keeps_the_recall(
    recall: float, threshold: float, false_positives: int
) -> None:
    chosen = choose_threshold(SCORES, TRUTH, recall)
    choice = measure_threshold(SCORES, TRUTH, chosen)

    assert choice.threshold == pytest.approx(threshold)
    assert choice.recall >= recall
    assert choice.false_positive_rate == pytest.approx(false_positives / 3)


def test_threshold_is_measured_on_pictures_that_it_was_not_chosen_on() -> None:
    choice = measure_threshold(SCORES, ~TRUTH, choose_threshold(SCORES, TRUTH, 1.0))

    assert choice.recall == pytest.approx(1 / 3)
    assert choice.false_positive_rate == 1
