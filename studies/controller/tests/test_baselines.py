"""Every baseline does on a plain link what its paper says; all keep the rules of the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from slimcontrol.budget import Allowance, Budget
from slimcontrol.controller import Offer, WaitReason
from slimcontrol.link import LinkView
from slimcontrol.point import OperatingPoint
from slimlinks.trace import Trace, constant_trace
from studies.controller.baselines import (
    Baseline,
    Bola,
    DelayGradient,
    FixedPoint,
    RateBased,
    RobustMpc,
    Terms,
)
from studies.controller.baselines.baseline import efficient_points
from studies.controller.baselines.throughput import FIRST_RATE, Throughput
from studies.controller.simulation.content import Content
from studies.controller.simulation.outcome import Outcome, summarise
from studies.controller.simulation.policy import Policy
from studies.controller.simulation.simulate import simulate
from studies.controller.simulation.world import World

SIZES = (2000, 4000, 8000, 16000)  # bytes of a picture of 100 x 100 pixels at the four points
POINTS = tuple(
    OperatingPoint(0, float(quality), 8 * size / 10_000, utility)
    for quality, (size, utility) in enumerate(zip(SIZES, (0.6, 0.8, 0.9, 1.0), strict=True))
)
TERMS = Terms(POINTS, {0: 1e-7}, 1.0, 0.1)
OPEN = LinkView(0, 0.0, 0, 65_536, 2**20)

Build = Callable[[Terms], Baseline]
ADAPTIVE: dict[str, Build] = {
    "rate-based": lambda terms: RateBased(terms, window_frames=4),
    "rate-based, EWMA": lambda terms: RateBased(terms, weight=0.3, window_frames=4),
    "robust-mpc": lambda terms: RobustMpc(terms, backlog=1.0),
    "bola": lambda terms: Bola(terms, share=0.2),
    "delay-gradient": lambda terms: DelayGradient(terms, increase=1.5, window_frames=4),
}
ALL: dict[str, Build] = {**ADAPTIVE, "fixed": lambda terms: FixedPoint(terms, POINTS[1])}


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_fast_link_carries_the_best_point(name: str) -> None:
    outcome = _run(ADAPTIVE[name], constant_trace(500_000.0))

    assert outcome.in_deadline_accuracy > 0.97
    assert outcome.late_share == 0


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_middling_link_carries_every_picture_at_a_point_that_fits(name: str) -> None:
    outcome = _run(ADAPTIVE[name], constant_trace(50_000.0))  # 5000 bytes a picture

    assert outcome.in_deadline_accuracy > 0.7
    assert outcome.late_share < 0.02


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_link_below_the_smallest_point_is_used_for_fewer_pictures(name: str) -> None:
    outcome = _run(ADAPTIVE[name], constant_trace(10_000.0))  # 5 of the 10 a second

    assert 0.2 < outcome.in_deadline_accuracy <= 0.32
    assert 0.4 < outcome.skipped_share < 0.7


@pytest.mark.parametrize("name", ALL)
def test_after_a_hole_pictures_come_again(name: str) -> None:
    hole = Trace("hole", "made", (0.0, 20.0, 25.0), (100_000.0, 0.0, 100_000.0), 60.0)

    run = simulate(ALL[name](TERMS), _world(hole, seconds=60.0))

    late = [frame for frame in run.frames if frame.captured_at > 50.0]
    assert sum(frame.is_in_time(1.0) for frame in late) > 0.8 * len(late)


@pytest.mark.parametrize("name", ALL)
def test_a_byte_budget_is_kept(name: str) -> None:
    world = _world(constant_trace(500_000.0), seconds=120.0, budget=Budget(60 * 45_000, 60))

    outcome = summarise(simulate(ALL[name](TERMS), world))

    assert outcome.bytes_per_second < 1.15 * 45_000  # ten seconds' worth may go ahead


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (Offer(0.0, 0.0, 10_000, LinkView(0, 0.0, 0, 65_536, 2**20, True)), WaitReason.CLOUD_FULL),
        (Offer(0.0, 0.0, 10_000, OPEN, Allowance(1.0, 100.0)), WaitReason.BUDGET),
        (Offer(2.0, 1.5, 10_000, OPEN), WaitReason.INFEASIBLE),  # past its deadline
        (Offer(2.0, 0.0, 10_000, LinkView(9, 1.1, 1, 65_536, 2**20)), WaitReason.INFEASIBLE),
        (Offer(2.0, 0.0, 10_000, LinkView(3000, 0.1, 1, 4000, 2**20)), WaitReason.CREDIT),
    ],
    ids=["cloud full", "budget spent", "expired", "behind a late one", "no credit"],
)
def test_the_rules_of_the_wire_are_kept(name: str, offer: Offer, reason: WaitReason) -> None:
    policy = ALL[name](TERMS)
    policy.on_connected(0.0, 0.05)

    decision = policy.decide(offer)

    assert (decision.point, decision.reason) == (None, reason)


def test_a_window_holds_frames_back_until_results_come() -> None:
    policy = FixedPoint(TERMS, POINTS[1], window_frames=2)
    one, two = (LinkView(0, 0.0, count, 65_536, 2**20) for count in (1, 2))

    assert policy.decide(Offer(0.0, 0.0, 10_000, one)).point == POINTS[1]
    assert policy.decide(Offer(0.0, 0.0, 10_000, two)).reason is WaitReason.CREDIT


def test_a_fixed_camera_never_changes_its_point() -> None:
    run = simulate(FixedPoint(TERMS, POINTS[2]), _world(constant_trace(20_000.0)))

    sent = [frame for frame in run.frames if frame.sent_at is not None]
    assert sent
    assert {frame.point for frame in sent} == {POINTS[2]}


def test_rate_based_takes_the_largest_point_that_fits() -> None:
    policy = RateBased(TERMS, safety=1.0)
    stream = _Stream(policy)
    stream.ack(rate=85_000.0)

    assert policy.decide(Offer(1.0, 0.0, 10_000, OPEN)).point == POINTS[2]  # 8000 of 8500 bytes


def test_robust_mpc_divides_by_its_largest_error() -> None:
    policy = RobustMpc(TERMS)
    stream = _Stream(policy)
    stream.ack(rate=80_000.0)
    assert policy.safe_rate == pytest.approx(80_000.0)

    stream.ack(rate=40_000.0, after=1.0)

    harmonic = 2 / (1 / 80_000 + 1 / 40_000)
    assert policy.safe_rate == pytest.approx(harmonic / (1 + 1.0))


def test_bola_sends_less_the_less_slack_there_is() -> None:
    policy = Bola(TERMS, low=0.2, high=0.8, share=10.0)
    stream = _Stream(policy)
    stream.ack(rate=100_000.0)
    backlogs = (0, 20_000, 40_000, 60_000)  # bytes: 0 to 0.6 s

    chosen = [
        policy.decide(Offer(1.0, 0.0, 10_000, LinkView(b, 0.1, 1, 10**6, 2**20))).point
        for b in backlogs
    ]

    sizes = [point.bpp for point in chosen if point is not None]
    assert len(sizes) == len(chosen)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_the_delay_gradient_falls_when_a_queue_grows() -> None:
    policy = DelayGradient(TERMS)
    stream = _Stream(policy)
    for number in range(20):
        stream.ack(rate=80_000.0, after=0.1 * number)
    before = policy.target

    for number in range(20):  # each frame waits 40 ms longer than the last
        stream.ack(rate=80_000.0, after=2.0 + 0.1 * number, queued=0.04 * number)

    assert policy.target < 0.9 * before
    assert policy.target <= 1.5 * policy.received_rate


def test_the_delay_gradient_does_not_mind_larger_frames() -> None:
    policy = DelayGradient(TERMS)
    stream = _Stream(policy)
    for number in range(40):
        size = 2000 if number % 2 else 8000
        stream.ack(rate=160_000.0, after=0.1 * number, size=size)

    assert policy.target > 60_000.0


def test_throughput_is_right_for_a_lone_frame_and_for_one_behind_another() -> None:
    throughput = Throughput()
    assert throughput.harmonic_mean(5) == FIRST_RATE
    throughput.connect(0.1)

    throughput.add(10.3, _Sent(2000, 10.0), 500.0)  # 0.2 s beyond the round trip
    throughput.add(10.5, _Sent(4000, 10.1), 500.2)  # behind the first

    assert list(throughput.samples) == pytest.approx([10_000.0, 20_000.0])
    assert throughput.harmonic_mean(2) == pytest.approx(2 / (1 / 10_000 + 1 / 20_000))


def test_points_that_others_beat_are_not_efficient() -> None:
    worse = OperatingPoint(1, 0.0, 4.0, 0.7)  # more bits than the second, worth less

    assert efficient_points((*POINTS, worse)) == POINTS


@dataclass
class _Sent:
    size_bytes: int
    sent_at: float | None
    behind: bool = False


class _Stream:
    """Frames of one policy over a link that is idle else, round trip 50 ms."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._received_bytes = 0
        policy.on_connected(0.0, 0.05)

    def ack(
        self, *, rate: float, after: float = 0.0, size: int = 4000, queued: float = 0.0
    ) -> None:
        """One frame at so many bytes per second."""
        sent = 1.0 + after
        there = sent + queued + size / rate + 0.025
        self._received_bytes += size
        frame = _Sent(size, sent)
        self._policy.on_received(there + 0.025, frame, there + 1000.0, self._received_bytes)


def _world(trace: Trace, **changes: Any) -> World:
    content = Content(
        (0, 0, 0, 0), (0.0, 1.0, 2.0, 3.0), np.asarray([SIZES], np.uint32), (100, 100)
    )
    about: dict[str, Any] = {
        "trace": trace,
        "content": content,
        "points": POINTS,
        "encode_seconds": {0: 0.001},
        "image_hw": (100, 100),
        "cloud_seconds": 0.02,
        "overhead_bytes": 0,
        **changes,
    }
    return World(**about)


def _run(build: Build, trace: Trace) -> Outcome:
    return summarise(simulate(build(TERMS), _world(trace)))
