import math

import pytest

from slimcontrol.controller import WaitReason
from studies.controller.simulation.outcome import recovery_seconds, summarise
from studies.controller.simulation.run import FrameOutcome, Run
from studies.controller.tests.simulated import LARGE, SMALL

DEADLINE = 1.0


def sent(
    captured_at: float, latency: float | None, utility: float = 0.5, probe: bool = False
) -> FrameOutcome:
    point = SMALL if utility == 0.5 else LARGE
    return FrameOutcome(
        index=round(captured_at * 10),
        captured_at=captured_at,
        point=point,
        probe=probe,
        utility=utility,
        size_bytes=1000,
        encoded_at=captured_at,
        sent_at=captured_at,
        detected_at=None if latency is None else captured_at + latency,
    )


def skipped(captured_at: float) -> FrameOutcome:
    return FrameOutcome(0, captured_at, reason=WaitReason.INFEASIBLE)


def run(*frames: FrameOutcome, seconds: float = 10.0, budget: float | None = None) -> Run:
    return Run(frames, DEADLINE, seconds, budget)


def test_figures_of_a_run_that_fits_in_the_head() -> None:
    outcome = summarise(
        run(
            sent(0.0, 0.2),
            sent(1.0, 1.0, utility=1.0),  # just in time
            sent(2.0, 1.5, utility=1.0),  # late
            sent(3.0, None, utility=1.0, probe=True),  # never
            skipped(4.0),
            skipped(5.0),
            sent(6.0, 0.4),
            sent(7.0, 0.4, utility=1.0),
            budget=500.0,
        )
    )

    assert outcome.in_deadline_accuracy == pytest.approx((0.5 + 1.0 + 0.5 + 1.0) / 8)
    assert (outcome.captured_frames, outcome.sent_frames) == (8, 6)
    assert outcome.late_share == pytest.approx(2 / 6)
    assert outcome.skipped_share == pytest.approx(2 / 8)
    assert outcome.probe_share == pytest.approx(1 / 6)
    assert outcome.latency_p50 == pytest.approx(0.4)
    assert outcome.sent_bytes == 6000
    assert outcome.bytes_per_second == 600.0
    assert outcome.budget_error == pytest.approx(0.2)
    assert outcome.switches_per_minute == pytest.approx(3 * 6)
    assert outcome.mean_utility == pytest.approx(5.0 / 6)


def test_run_that_sent_nothing_has_no_latency() -> None:
    outcome = summarise(run(skipped(0.0), skipped(1.0)))

    assert outcome.in_deadline_accuracy == 0.0
    assert outcome.late_share == 0.0
    assert outcome.skipped_share == 1.0
    assert outcome.budget_error is None
    assert math.isnan(outcome.latency_p99)
    assert math.isnan(outcome.mean_utility)


def test_recovery_is_where_two_seconds_are_as_the_settled_ones() -> None:
    # Good until 10 s, all late until 13 s, then worth half as much.
    frames = [sent(n / 10, 0.2, utility=1.0) for n in range(100)]
    frames += [sent(10 + n / 10, 2.0, utility=1.0) for n in range(30)]
    frames += [sent(13 + n / 10, 0.2) for n in range(170)]

    late = run(*frames, seconds=30.0)

    assert recovery_seconds(late, step_at=10.0) == pytest.approx(3.0, abs=0.11)
    assert recovery_seconds(late, step_at=20.0) == 0.0
    assert recovery_seconds(late, step_at=10.0, until=11.0) == math.inf
