"""The controller: properties over any history, and its behaviour on a simulated link."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.budget import NO_BUDGET, BudgetView
from slimcontrol.controller import GOOD_ENOUGH, Controller
from slimcontrol.link import LinkView
from slimcontrol.point import OperatingPoint, default_operating_points
from slimcontrol.policy import Decision, Offer, Verdict
from slimedge.ledger import Ledger, LedgerFrame

LATENT_CHANNELS = (32, 64, 128, 192)
QUALITIES = 6
POINTS = default_operating_points(LATENT_CHANNELS, QUALITIES)
SMALLEST = POINTS[0]
ENCODE_SECONDS_PER_PIXEL = {0: 1e-8, 1: 3e-8, 2: 6e-8, 3: 1.2e-7}
PIXELS = 640 * 480
IDLE = LinkView(0, 0.0, 0, 10**6, 10**6)


def offer(link: LinkView, budget: BudgetView = NO_BUDGET, *, age: float = 0.0) -> Offer:
    return Offer(0.0, age, PIXELS, link, budget)


Learn = Callable[[Controller], None]


def make_controller(deadline_seconds: float | None = 1.0) -> Controller:
    return Controller(
        POINTS,
        ENCODE_SECONDS_PER_PIXEL,
        deadline_seconds=deadline_seconds,
        frame_seconds=0.1,
    )


def make_frame(size_bytes: int, sent_at: float, *, behind: bool) -> LedgerFrame:
    frame = LedgerFrame(1, bytes(size_bytes), 0, 0.0, 0.0, 0.0)
    frame.sent_at = sent_at
    frame.behind = behind
    return frame


def received(
    now: float, size_bytes: int, delay: float, server_time: float, total: int, behind: bool
) -> Learn:
    frame = make_frame(size_bytes, now - delay, behind=behind)
    return lambda controller: controller.on_received(now, frame, server_time, total)


times = st.floats(0, 100)
durations = st.floats(0, 20)
sizes = st.integers(1, 200_000)
samples: st.SearchStrategy[Learn] = st.one_of(
    st.builds(received, times, sizes, durations, times, st.integers(0, 10**8), st.booleans()),
    st.builds(
        lambda level, quality, size, seconds: (
            lambda c: c.on_encoded(level, quality, PIXELS, size, seconds)
        ),
        st.integers(0, 3),
        st.integers(0, QUALITIES - 1),
        sizes,
        st.floats(1e-4, 5),
    ),
    st.builds(lambda start, end: lambda c: c.on_detected(start, end), times, times),
    st.builds(lambda now, rtt: lambda c: c.on_connected(now, rtt), times, st.floats(0, 2)),
)
histories = st.lists(samples, max_size=25)
links = st.builds(
    LinkView,
    in_flight_bytes=st.integers(0, 300_000),
    oldest_in_flight_seconds=durations,
    undetected_frames=st.integers(0, 20),
    credit_bytes=st.integers(0, 2**20),
    max_frame_bytes=st.integers(1000, 2**22),
)
ages = st.floats(0, 3)
deadlines = st.floats(0.05, 10)


def decide(history: list[Learn], deadline: float | None, age: float, link: LinkView) -> Decision:
    controller = make_controller(deadline)
    for learn in history:
        learn(controller)
    return controller.decide(offer(link, age=age))


def worth(decision: Decision) -> float:
    if decision.verdict is not Verdict.BEST or decision.point is None:
        return -1.0
    return decision.point.utility


@given(histories, deadlines, ages, links)
def test_the_same_history_gives_the_same_decision(
    history: list[Learn], deadline: float, age: float, link: LinkView
) -> None:
    assert decide(history, deadline, age, link) == decide(history, deadline, age, link)


@given(histories, deadlines, st.floats(1, 5), ages, links)
def test_a_longer_deadline_never_gives_a_worse_point(
    history: list[Learn], deadline: float, factor: float, age: float, link: LinkView
) -> None:
    short = decide(history, deadline, age, link)
    long = decide(history, deadline * factor, age, link)

    assert worth(long) >= worth(short)


@given(histories, deadlines, ages, links)
def test_a_point_that_is_known_to_be_late_or_too_large_is_never_the_best(
    history: list[Learn], deadline: float, age: float, link: LinkView
) -> None:
    decision = decide(history, deadline, age, link)

    if decision.verdict is Verdict.BEST:
        assert decision.predicted_seconds <= deadline
        assert decision.predicted_bytes <= min(link.credit_bytes, link.max_frame_bytes) + 0.5
        assert decision.predicted_seconds >= age


@given(histories, deadlines, ages, links)
def test_an_idle_link_always_gets_a_frame_and_only_an_idle_one_gets_a_probe(
    history: list[Learn], deadline: float, age: float, link: LinkView
) -> None:
    decision = decide(history, deadline, age, link)

    if link.idle:
        assert decision.verdict is not Verdict.SKIP
    else:
        assert decision.verdict is not Verdict.PROBE
    if decision.verdict is Verdict.PROBE:
        assert decision.point == SMALLEST


@given(histories, deadlines, ages, links, st.integers(1, 200_000), st.integers(0, 5))
def test_a_longer_queue_never_gives_a_better_point(
    history: list[Learn], deadline: float, age: float, link: LinkView, more: int, frames: int
) -> None:
    # Fresh: of two equally old queues the longer one is the less overdue.
    now = replace(link, oldest_in_flight_seconds=0.0)
    longer = replace(
        now,
        in_flight_bytes=now.in_flight_bytes + more,
        undetected_frames=now.undetected_frames + frames,
    )

    assert worth(decide(history, deadline, age, longer)) <= worth(
        decide(history, deadline, age, now)
    )


def test_an_empty_fast_link_gets_the_best_point() -> None:
    link = SimulatedLink(lambda _: 10e6)

    decisions = link.play(make_controller(), seconds=10)

    assert decisions[-1].point == POINTS[-1]


def test_a_budget_lowers_the_point_as_a_slower_link_would() -> None:
    controller = make_controller()
    controller.rate.add_alone(10**6, 0.1)
    free = controller.decide(offer(IDLE))

    rich = controller.decide(offer(IDLE, BudgetView(1e9)))
    tight = controller.decide(offer(IDLE, BudgetView(free.predicted_bytes / 0.1 / 4)))
    spent = controller.decide(offer(IDLE, BudgetView(1.0, backlog_seconds=5.0)))

    assert rich == free
    assert tight.verdict is Verdict.BEST
    assert tight.predicted_bytes < free.predicted_bytes
    assert spent.point is SMALLEST


def test_a_frame_that_nobody_waits_for_is_worth_its_bytes_on_any_link() -> None:
    slow = make_controller()
    slow.rate.add_alone(1000, 10.0)

    decision = slow.decide_for_later(PIXELS)

    assert decision.verdict is Verdict.BEST
    assert decision.point is not None
    assert decision.point.utility >= max(point.utility for point in POINTS) - GOOD_ENOUGH


def test_a_limit_of_the_cloud_leaves_the_choice_of_quality_and_can_be_lifted() -> None:
    controller = make_controller()
    link = LinkView(0, 0.0, 0, 2**20, 2**22)
    free = controller.decide(offer(link))
    controller.limit_level(0)
    limited = controller.decide(offer(link))
    controller.limit_level(None)

    assert free.point is not None
    assert limited.point is not None
    assert limited.point.level == 0 < free.point.level
    assert limited.verdict is Verdict.BEST
    assert controller.decide(offer(link)) == free


def test_a_limit_below_what_a_person_allows_is_passed_over() -> None:
    wide = [point for point in POINTS if point.level == 3]
    controller = Controller(
        wide, ENCODE_SECONDS_PER_PIXEL, deadline_seconds=None, frame_seconds=1.0
    )

    controller.limit_level(0)

    decision = controller.decide(offer(LinkView(0, 0.0, 0, 2**20, 2**22)))
    assert decision.point in wide


def test_of_points_that_are_worth_nearly_the_same_the_smallest_is_taken() -> None:
    points = (
        OperatingPoint(0, 0, bpp=0.1, utility=0.70),
        OperatingPoint(0, 1, bpp=0.2, utility=0.985),
        OperatingPoint(1, 0, bpp=0.3, utility=0.98),
        OperatingPoint(1, 1, bpp=0.9, utility=0.99),
    )
    controller = Controller(
        points, ENCODE_SECONDS_PER_PIXEL, deadline_seconds=5.0, frame_seconds=1.0
    )

    decision = controller.decide(offer(LinkView(0, 0.0, 0, 2**20, 2**22)))

    assert decision.point == points[1]


def test_a_slow_link_gets_a_smaller_point_that_it_can_sustain() -> None:
    link = SimulatedLink(lambda _: 60_000.0)

    decisions = link.play(make_controller(), seconds=20)

    last = [d for d in decisions[-50:] if d.verdict is Verdict.BEST]
    assert len(last) > 40
    assert all(d.point != POINTS[-1] for d in last)
    assert link.late_share(deadline_seconds=1.0) < 0.05


def test_the_choice_recovers_after_a_time_in_which_the_link_carries_nothing() -> None:
    link = SimulatedLink(lambda now: 0.0 if 10 <= now < 18 else 500_000.0)

    decisions = link.play(make_controller(), seconds=40)

    before, during, after = decisions[80:100], decisions[105:178], decisions[-20:]
    assert {d.verdict for d in before} == {Verdict.BEST}
    assert {d.verdict for d in during} == {Verdict.SKIP}
    assert {d.verdict for d in after} == {Verdict.BEST}
    assert min(worth(d) for d in after) >= 0.9 * min(worth(d) for d in before)


def test_a_link_too_slow_for_the_deadline_is_probed_one_frame_at_a_time() -> None:
    link = SimulatedLink(lambda _: 1000.0)

    decisions = link.play(make_controller(deadline_seconds=0.5), seconds=30)

    verdicts = {d.verdict for d in decisions[20:]}
    assert verdicts == {Verdict.PROBE, Verdict.SKIP}
    assert link.most_undetected <= 2


def test_a_slow_cloud_is_not_given_more_frames_than_it_can_answer_in_time() -> None:
    link = SimulatedLink(lambda _: 10e6, service_seconds=0.4)

    link.play(make_controller(), seconds=30)

    assert link.late_share(deadline_seconds=1.0, after=5.0) < 0.05
    assert link.most_undetected <= 4


def test_an_encoder_that_grows_slow_is_given_a_narrower_level() -> None:
    link = LinkView(0, 0.0, 0, 2**20, 2**22)
    controller = make_controller()
    controller.rate.add_alone(10**6, 0.01)
    for _ in range(40):
        controller.rate.add_alone(10**6, 0.01)
    quick = controller.decide(offer(link))

    for _ in range(40):
        controller.on_encoded(3, 5, PIXELS, 30_000, 0.5)
    slow = controller.decide(offer(link))

    assert quick.point is not None
    assert slow.point is not None
    assert quick.point.level == 3
    assert slow.point.level < 3


@pytest.mark.parametrize("deadline", [None, 2.0])
def test_overdue_acknowledgements_lower_the_planned_rate(deadline: float | None) -> None:
    fresh = LinkView(20_000, 0.01, 1, 2**20, 2**22)
    stale = LinkView(20_000, 30.0, 1, 2**20, 2**22)

    assert worth(decide([], deadline, 0.0, stale)) < worth(decide([], deadline, 0.0, fresh))


@dataclass
class SimulatedLink:
    """A link of a given rate (bytes per second at a time) and a cloud, on a clock of its own."""

    rate: Callable[[float], float]
    service_seconds: float = 0.02
    trip_seconds: float = 0.01  # one way
    latencies: list[tuple[float, float]] = field(default_factory=list)  # (capture, latency)
    most_undetected: int = 0

    def play(self, controller: Controller, seconds: float) -> list[Decision]:
        """Offer a frame every 0.1 s; acks come back as the link and the cloud allow."""
        ledger = Ledger()
        ledger.credit_bytes, ledger.max_frame_bytes = 2**20, 2**22
        events: list[tuple[float, int, Callable[[float], None]]] = []
        order = itertools.count()
        free_at = cloud_free_at = 0.0
        total = 0
        decisions = []
        controller.on_connected(0.0, 2 * self.trip_seconds)

        def on_received(sequence: int, server: float, sum_bytes: int) -> Callable[[float], None]:
            def call(now: float) -> None:
                frame = ledger.receive(sequence, server)
                assert frame is not None
                controller.on_received(now, frame, server, sum_bytes)

            return call

        def on_detected(sequence: int, start: float, end: float) -> Callable[[float], None]:
            def call(now: float) -> None:
                frame = ledger.detect(sequence)
                assert frame is not None
                controller.on_detected(start, end)
                self.latencies.append((frame.capture_time_mono, now - frame.capture_time_mono))

            return call

        for sequence in range(1, round(seconds * 10) + 1):
            now = sequence * 0.1
            while events and events[0][0] <= now:
                at, _, call = heapq.heappop(events)
                call(at)
            decision = controller.decide(offer(ledger.view(now)))
            decisions.append(decision)
            if decision.point is None:
                continue
            size = round(decision.point.bpp * PIXELS / 8)
            controller.on_encoded(decision.point.level, decision.point.quality, PIXELS, size, 0.01)
            ledger.send(LedgerFrame(sequence, bytes(size), 0, now, now, now), now)
            self.most_undetected = max(self.most_undetected, ledger.undetected_frames)
            total += size
            free_at = self._carry(max(now, free_at), size)
            arrived = free_at + self.trip_seconds
            cloud_free_at = max(arrived, cloud_free_at) + self.service_seconds
            back = self.trip_seconds
            heapq.heappush(
                events, (arrived + back, next(order), on_received(sequence, arrived, total))
            )
            heapq.heappush(
                events,
                (
                    cloud_free_at + back,
                    next(order),
                    on_detected(sequence, arrived, cloud_free_at),
                ),
            )
        return decisions

    def late_share(self, deadline_seconds: float, after: float = 0.0) -> float:
        """Share of the detected frames that came after the deadline."""
        counted = [latency for capture, latency in self.latencies if capture >= after]
        return sum(latency > deadline_seconds for latency in counted) / len(counted)

    def _carry(self, start: float, size_bytes: int) -> float:
        """When the last of these bytes has left, in steps of 10 ms."""
        left, now = float(size_bytes), start
        while left > 0:
            step = self.rate(now) * 0.01
            if step >= left:
                return now + 0.01 * left / step
            left -= step
            now += 0.01
        return now
