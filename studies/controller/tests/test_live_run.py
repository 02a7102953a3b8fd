"""A live run's events become a run like the simulator's, and what it needs to repeat that run."""

from __future__ import annotations

import numpy as np
import pytest

from slimcontrol.controller import WaitReason
from slimcontrol.point import OperatingPoint
from slimedge.event import Acked, Captured, Detected, Encoded, Sent, Skipped, SkipReason, Stage
from slimlinks.trace import constant_trace
from studies.controller.live_run import LiveRun
from studies.controller.simulation.outcome import summarise
from studies.controller.simulation.run import Unsent

POINT = OperatingPoint(1, 2.0, 0.1, 0.8)
TRIP = 0.05


class Edge:
    """Events at chosen seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.run = LiveRun(lambda: self.now)

    def capture(self, number: int, at: float) -> None:
        self.now = at
        self.run.notify(Captured(number, (4, 4)))

    def send(self, number: int, sequence: int, *, encode: float = 0.02, level: int = 1) -> None:
        image = np.zeros((4, 4, 3), np.uint8)
        self.now += encode
        self.run.notify(Encoded(number, sequence, level, 2.0, 900, image, 0.0, encode, False))
        self.run.notify(Sent(sequence, 900, 0.0, False))

    def receive(self, sequence: int, at: float) -> None:
        self.now = at
        self.run.notify(Acked(sequence, Stage.RECEIVED, 0.0))

    def detect(self, sequence: int, at: float, latency: float, compute: float) -> None:
        self.now = at
        self.run.notify(Detected(sequence, (), latency, 0.01, compute))


@pytest.fixture
def edge() -> Edge:
    """Before the window a warm-up; in it one in time, one late in the same batch, two unsent."""
    edge = Edge()
    edge.capture(1, 99.0)
    edge.run.notify(Skipped(1, SkipReason.WARM_UP))
    edge.capture(2, 100.0)
    edge.send(2, 1)
    edge.capture(3, 100.1)
    edge.send(3, 2, encode=0.04)
    edge.capture(4, 100.2)
    edge.run.notify(Skipped(4, WaitReason.INFEASIBLE))
    edge.capture(5, 100.3)
    edge.receive(1, 100.5)
    edge.receive(2, 100.55)
    edge.detect(1, 100.7, 0.7, 0.15)
    edge.detect(2, 101.2, 1.1, 0.15)
    return edge


def test_the_window_is_a_run_like_the_simulator_s(edge: Edge) -> None:
    run = edge.run.outcome(0.4, 1.0, TRIP, {(1, 2.0): POINT})

    first, second, third, fourth = run.frames
    assert [frame.captured_at for frame in run.frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert first.received_at == pytest.approx(0.5 - TRIP / 2)
    assert first.latency_seconds == pytest.approx(0.7)
    assert (third.reason, fourth.reason) == (WaitReason.INFEASIBLE, Unsent.REPLACED)
    outcome = summarise(run)
    assert outcome.in_deadline_accuracy == pytest.approx(0.8 / 4)
    assert outcome.late_share == 0.5
    assert outcome.sent_bytes == 1800
    assert second.size_bytes == 900


def test_what_a_frame_cost_is_kept_for_each_and_a_batch_works_once(edge: Edge) -> None:
    measured = edge.run.measured(0.4, {0: 0.01, 1: 0.02})

    assert measured.encode_seconds == pytest.approx({0: 0.015, 1: 0.03})
    assert measured.encode_factors == pytest.approx((2 / 3, 4 / 3, 4 / 3, 4 / 3))
    assert measured.service_seconds == pytest.approx((0.15, 0.0, 0.15, 0.15))
    assert measured.delay_seconds == pytest.approx(0.05)


def test_what_lies_between_two_batches_that_follow_at_once_keeps_the_cloud_busy(
    edge: Edge,
) -> None:
    edge.send(5, 3)
    edge.receive(3, 100.6)  # waits for the first two, the last of which is told at 101.2
    edge.detect(3, 101.33, 1.03, 0.1)

    measured = edge.run.measured(0.4, {0: 0.01, 1: 0.02})

    assert measured.service_seconds == pytest.approx((0.18, 0.0, 0.18, 0.13))
    assert measured.delay_seconds == pytest.approx(0.02)


def test_acks_are_late_by_what_the_link_does_not_explain(edge: Edge) -> None:
    # At 25,000 B/s a frame of 900 and 100 bytes takes 0.04 s: they leave at 0.06 and 0.18.
    late = edge.run.lateness(0.4, constant_trace(25_000), 0.0, 100, TRIP)

    assert late == pytest.approx((0.5 - 0.06 - TRIP, *(3 * [0.55 - 0.18 - TRIP])))
