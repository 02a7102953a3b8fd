"""One decision of the controller: properties over any history, and what single inputs do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.budget import BURST_SECONDS, NO_BUDGET, Allowance
from slimcontrol.controller import (
    Controller,
    Decision,
    NextKind,
    Offer,
    Verdict,
    WaitReason,
)
from slimcontrol.link import LONGEST_PROBE_SECONDS, LinkView
from slimcontrol.point import GOOD_ENOUGH, OperatingPoint
from slimcontrol.profile import default_operating_points
from slimedge.frame import FrameHeader
from slimedge.memory.ledger import LedgerFrame

LATENT_CHANNELS = (32, 64, 128, 192)
QUALITIES = 6
POINTS = default_operating_points(LATENT_CHANNELS, QUALITIES)
SMALLEST = POINTS[0]
ENCODE_SECONDS_PER_PIXEL = {0: 1e-8, 1: 3e-8, 2: 6e-8, 3: 1.2e-7}
PIXELS = 640 * 480
IDLE = LinkView(0, 0.0, 0, 10**6, 10**6)


def offer(link: LinkView, budget: Allowance = NO_BUDGET, *, age: float = 0.0) -> Offer:
    return Offer(0.0, age, PIXELS, link, budget)


Learn = Callable[[Controller], None]


def make_controller(
    deadline_seconds: float | None = 1.0, cpu_share: float | None = None
) -> Controller:
    return Controller(
        POINTS,
        ENCODE_SECONDS_PER_PIXEL,
        deadline_seconds=deadline_seconds,
        frame_seconds=0.1,
        cpu_share=cpu_share,
    )


def make_frame(size_bytes: int, sent_at: float, *, behind: bool) -> LedgerFrame:
    header = FrameHeader(
        sequence=1, capture_time_unix_us=0, capture_time_mono_us=0, container_crc32c=0
    )
    frame = LedgerFrame(header, bytes(size_bytes), encoded_at=0.0)
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
        room = link.credit_bytes - link.in_flight_bytes if link.in_flight_bytes else float("inf")
        assert decision.predicted_bytes <= min(room, link.max_frame_bytes) + 0.5
        assert decision.predicted_seconds >= age


@given(histories, deadlines, ages, links)
def test_only_an_idle_link_gets_a_probe_of_the_smallest(
    history: list[Learn], deadline: float, age: float, link: LinkView
) -> None:
    decision = decide(history, deadline, age, link)

    if not link.idle:
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


@given(histories, deadlines, ages, st.floats(1, 1e5))
def test_an_idle_link_gets_a_frame_within_the_longest_gap_of_probes(
    history: list[Learn], deadline: float, age: float, start: float
) -> None:
    controller = make_controller(deadline)
    for learn in history:
        learn(controller)
    steps = [start + 0.1 * step for step in range(round(LONGEST_PROBE_SECONDS / 0.1) + 2)]
    decisions = [
        controller.decide(Offer(now, age, PIXELS, replace(IDLE, credit_bytes=10**9)))
        for now in [*steps, *[steps[-1] + now - start for now in steps]]
    ]

    for window in (decisions[: len(steps)], decisions[len(steps) :]):
        assert {d.verdict for d in window} - {Verdict.SKIP}


def test_a_budget_lowers_the_point_as_a_slower_link_would() -> None:
    controller = make_controller()
    controller.rate.add_alone(10**6, 0.1)
    free = controller.decide(offer(IDLE))

    rich = controller.decide(offer(IDLE, Allowance(1e9)))
    tight = controller.decide(offer(IDLE, Allowance(free.predicted_bytes / 0.8)))
    spent = controller.decide(offer(IDLE, Allowance(1e6, backlog_seconds=BURST_SECONDS)))

    assert rich == free
    assert tight.verdict is Verdict.BEST
    assert tight.predicted_bytes < free.predicted_bytes
    assert (spent.verdict, spent.reason) == (Verdict.SKIP, WaitReason.BUDGET)


@given(st.floats(0.01, 1), st.floats(0.001, 0.3), st.integers(0, 40))
def test_no_frame_is_encoded_that_the_share_of_the_processor_does_not_cover(
    share: float, seconds: float, frames: int
) -> None:
    controller = make_controller(cpu_share=share)
    for level in ENCODE_SECONDS_PER_PIXEL:
        controller.on_encoded(level, 0, PIXELS, 2000, seconds * (level + 1))
    controller.rate.add_alone(10**6, 0.01)
    spent = longest = 0.0
    for step in range(frames):
        now = step * 0.1
        decision = controller.decide(Offer(now, 0.0, PIXELS, IDLE))
        if decision.point is None:
            assert decision.reason is WaitReason.CPU
            continue
        took = seconds * (decision.point.level + 1)
        controller.on_encoded(decision.point.level, 0, PIXELS, 2000, took)
        spent, longest = spent + took, max(longest, took)
        assert spent <= share * now + max(share * BURST_SECONDS, longest) + 1e-6


def test_a_window_without_room_is_told_and_a_smaller_point_that_fits_is_taken() -> None:
    controller = make_controller()
    controller.rate.add_alone(10**6, 0.01)
    busy = LinkView(60_000, 0.001, 1, 0, 2**20)

    none = controller.decide(offer(replace(busy, credit_bytes=60_000)))
    some = controller.decide(offer(replace(busy, credit_bytes=68_000)))
    all_of_it = controller.decide(offer(replace(busy, credit_bytes=2**20)))
    closed = controller.decide(offer(replace(IDLE, credit_bytes=0)))

    assert none.reason is WaitReason.CREDIT
    assert closed.reason is WaitReason.CREDIT
    assert 0 < some.predicted_bytes <= 8000 < all_of_it.predicted_bytes


def test_a_queue_that_outlasts_the_next_frame_waits_for_it() -> None:
    controller = make_controller(5.0)
    controller.rate.add_alone(100_000, 1.0)

    decision = controller.decide(offer(LinkView(50_000, 0.001, 1, 2**20, 2**20)))

    assert (decision.verdict, decision.reason) == (Verdict.SKIP, WaitReason.WORTHLESS)


def test_a_full_cloud_gets_nothing() -> None:
    decision = make_controller().decide(offer(replace(IDLE, paused=True)))

    assert (decision.verdict, decision.reason) == (Verdict.SKIP, WaitReason.CLOUD_FULL)


def test_a_frame_that_nobody_waits_for_is_worth_its_bytes_on_any_link() -> None:
    slow = make_controller()
    slow.rate.add_alone(1000, 10.0)

    decision = slow.decide_for_later(0.0, PIXELS, 1.0)

    assert decision.verdict is Verdict.BEST
    assert decision.point is not None
    assert decision.point.utility >= max(point.utility for point in POINTS) - GOOD_ENOUGH


@given(st.floats(0.01, 1), st.floats(0.001, 0.3))
def test_frames_for_later_keep_to_the_share_of_the_processor_too(
    share: float, seconds: float
) -> None:
    controller = make_controller(cpu_share=share)
    for level in ENCODE_SECONDS_PER_PIXEL:
        controller.on_encoded(level, 0, PIXELS, 2000, seconds * (level + 1))
    spent = longest = 0.0
    for now in range(60):
        decision = controller.decide_for_later(float(now), PIXELS, 1.0)
        if decision.point is None:
            assert decision.reason is WaitReason.CPU
            continue
        took = seconds * (decision.point.level + 1)
        controller.on_encoded(decision.point.level, 0, PIXELS, 2000, took)
        spent, longest = spent + took, max(longest, took)
        assert spent <= share * now + max(share * BURST_SECONDS, longest) + 1e-6
    assert spent > 0


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


def test_without_a_deadline_no_frame_is_too_late() -> None:
    free, bound = make_controller(deadline_seconds=None), make_controller(deadline_seconds=10.0)
    link = LinkView(0, 0.0, 0, 2**20, 2**22)

    assert free.decide(offer(link, age=14.0)).verdict is Verdict.BEST
    assert bound.decide(offer(link, age=14.0)).verdict is not Verdict.BEST


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


def test_an_encoder_that_grows_slow_is_given_a_narrower_level() -> None:
    link = LinkView(0, 0.0, 0, 2**20, 2**22)
    controller = make_controller()
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


def test_sizes_are_learnt_apart_for_frames_coded_alone_and_against_another() -> None:
    controller = make_controller(deadline_seconds=None)
    alone, inter = offer(IDLE), replace(offer(IDLE), kind=NextKind.INTER)
    usual = controller.decide(alone).predicted_bytes
    for _ in range(30):
        for is_inter, times in ((False, 1.0), (True, 0.05)):
            size_bytes = round(times * SMALLEST.bpp * PIXELS / 8)
            controller.on_encoded(0, 0, PIXELS, size_bytes, 0.001, is_inter)

    once, again = controller.decide(alone), controller.decide(inter)

    assert once.predicted_bytes == usual
    assert once.point is not None
    assert again.point is not None
    assert again.point.utility > once.point.utility  # the same bytes buy more
    assert again.predicted_bytes < 1.2 * once.predicted_bytes


def test_bytes_have_a_price_and_a_key_is_paid_once() -> None:
    fast = replace(IDLE, max_frame_bytes=10**9)
    priced = Controller(
        POINTS,
        ENCODE_SECONDS_PER_PIXEL,
        deadline_seconds=None,
        frame_seconds=0.1,
        byte_price=0.25,
    )
    priced.on_received(0.0, make_frame(10**7, -0.03, behind=False), 0.0, 10**7)

    kinds = {kind: priced.decide(replace(offer(fast), kind=kind)).point for kind in NextKind}

    worth = {kind: 0.0 if point is None else point.utility for kind, point in kinds.items()}
    assert worth[NextKind.KEY] >= max(p.utility for p in POINTS) - GOOD_ENOUGH
    assert worth[NextKind.INTER] == worth[NextKind.ALONE] < worth[NextKind.KEY]


def test_a_share_of_an_encoder_that_others_use_bounds_levels_until_it_is_lifted() -> None:
    controller = make_controller(cpu_share=0.9)
    controller.rate.add_alone(10**7, 0.01)

    def chosen(now: float) -> int:
        for level, per_pixel in ENCODE_SECONDS_PER_PIXEL.items():
            controller.on_encoded(level, 0, PIXELS, 2000, per_pixel * PIXELS)
        point = controller.decide(Offer(now, 0.0, PIXELS, IDLE)).point
        assert point is not None
        return point.level

    alone = chosen(0.0)
    controller.on_encoder_share(1e-4)
    shared = chosen(100.0)
    controller.on_encoder_share(None)

    assert shared < alone
    assert chosen(200.0) == alone
