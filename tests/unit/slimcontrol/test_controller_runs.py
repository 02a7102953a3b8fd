"""The controller over whole runs: what it must keep to on any link, in simulated time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcontrol.budget import Budget
from slimcontrol.controller import WaitReason
from slimcontrol.link import LONGEST_PROBE_SECONDS
from slimlinks.trace import Trace
from studies.controller.simulation.run import FrameOutcome
from support.edge.controlled import (
    POINTS,
    SECONDS_PER_PIXEL,
    accuracy,
    control,
    late,
    make_camera,
    sent,
)

few = settings(max_examples=8, deadline=None)
rates = st.floats(25_000.0, 2e6)  # bytes per second


def make_steps(*pieces: tuple[float, float]) -> Trace:
    """A link of (seconds, bytes per second) pieces."""
    starts = [sum(seconds for seconds, _ in pieces[:n]) for n in range(len(pieces))]
    total = sum(seconds for seconds, _ in pieces)
    return Trace("steps", "made", tuple(starts), tuple(rate for _, rate in pieces), total)


links = st.lists(st.tuples(st.floats(0.3, 8), st.floats(0, 1e6)), min_size=1, max_size=6).map(
    lambda pieces: make_steps(*pieces, (2.0, 200_000.0))
)


@few
@given(links)
def test_the_same_link_gives_the_same_run(link: Trace) -> None:
    world = make_camera(link, seconds=20.0)

    assert control(world) == control(world)


@few
@given(rates)
def test_on_a_constant_link_nothing_is_late_and_the_choice_settles(rate: float) -> None:
    run = control(make_camera(rate))

    frames = sent(run, after=5.0)
    assert late(frames, run.deadline_seconds) == 0
    # Two neighbours may share the time as the link allows; nothing swings beyond them.
    assert len({frame.point for frame in frames}) <= 3
    sizes = sorted({frame.point.bpp for frame in frames if frame.point})
    assert sizes[-1] <= 2.0 * sizes[0]


@few
@given(rates)
def test_a_constant_link_is_used_nearly_as_well_as_any_mixture_of_points_could(
    rate: float,
) -> None:
    world = make_camera(rate)

    reached = accuracy(control(world), after=5.0)

    assert reached >= 0.93 * best_mixture(rate * world.frame_seconds * 8 / world.pixels)


def best_mixture(bpp: float) -> float:
    """Most mean utility at so many bits per pixel and frame, points and skips mixed freely."""
    hull = [(0.0, 0.0), *((p.bpp, p.utility) for p in POINTS)]
    return max(
        [u for b, u in hull if b <= bpp]
        + [
            (u1 * (b2 - bpp) + u2 * (bpp - b1)) / (b2 - b1)
            for b1, u1 in hull
            for b2, u2 in hull
            if b1 <= bpp < b2
        ]
    )


@few
@given(st.floats(2.0, 8.0), st.floats(80_000.0, 1e6))
def test_the_choice_recovers_after_a_time_in_which_the_link_carries_nothing(
    seconds: float, rate: float
) -> None:
    run = control(make_camera(make_steps((20.0, rate), (seconds, 0.0), (100.0, rate)), seconds=40))

    before = accuracy(run, 10.0, 20.0)
    after = accuracy(run, 20.0 + seconds + 2.0, 20.0 + seconds + 12.0)
    assert after >= 0.95 * before
    # What the hole takes with it was sent before it was seen: few frames.
    assert late(sent(run, 15.0), run.deadline_seconds) <= 6


@few
@given(st.floats(500.0, 5000.0), st.floats(60_000.0, 1e6))
def test_a_link_too_slow_for_the_deadline_gets_rare_probes_and_is_found_when_it_recovers(
    slow: float, fast: float
) -> None:
    run = control(make_camera(make_steps((40.0, slow), (100.0, fast)), seconds=80.0))

    before = sent(run, 10.0, 35.0)
    assert late(before, run.deadline_seconds) == 0  # nothing but probes
    gaps = [b.captured_at - a.captured_at for a, b in pairwise(before)]
    transfer = 8000 / slow
    assert all(gap <= max(LONGEST_PROBE_SECONDS, transfer + 1.0) + 0.3 for gap in gaps)
    assert len(before) <= 25 / LONGEST_PROBE_SECONDS + 3
    found = 40.0 + LONGEST_PROBE_SECONDS + 3.0
    assert accuracy(run, found, found + 10.0) >= 0.9 * accuracy(run, 70.0, 80.0)


@few
@given(links)
def test_the_estimator_is_never_starved(link: Trace) -> None:
    """While the link carries anything, no more than the longest gap passes without a frame."""
    run = control(make_camera(link, seconds=30.0))

    frames = sent(run)
    for a, b in pairwise(frames):
        answered = a.detected_at
        assert answered is not None
        idle = (b.sent_at or 0.0) - max(answered, a.sent_at or 0.0)
        assert idle <= LONGEST_PROBE_SECONDS + 0.2


@few
@given(st.floats(0.7, 1.2), st.floats(1.0, 2.5), st.sampled_from([86_400, 600, 120]))
def test_a_byte_budget_that_binds_is_used_and_kept_within_a_hundredth(
    share: float, demand: float, period: int
) -> None:
    rate = share * 100_000.0
    world = make_camera(
        rate * (1.0 + demand), seconds=120.0, budget=Budget(round(rate * period), period)
    )

    run = control(world)

    spent = sum(frame.size_bytes for frame in sent(run))
    assert spent == pytest.approx(rate * 120.0, rel=0.01)


def test_a_budget_below_the_smallest_point_at_full_rate_is_kept_with_fewer_frames() -> None:
    run = control(make_camera(1e6, seconds=120.0, budget=Budget(20_000 * 86_400, 86_400)))

    frames = sent(run)
    assert sum(f.size_bytes for f in frames) == pytest.approx(20_000 * 120, rel=0.01)
    assert {f.reason for f in run.frames if f.sent_at is None} <= {WaitReason.BUDGET, "replaced"}


@few
@given(st.floats(0.02, 0.6), st.floats(60_000.0, 1e6))
def test_the_share_of_the_processor_is_kept_and_used(share: float, rate: float) -> None:
    world = make_camera(rate, cpu_share=share)

    frames = sent(control(world))

    spent = encode_seconds(frames, world.pixels)
    assert spent <= share * 60.0 + share + SECONDS_PER_PIXEL[3] * world.pixels
    need = SECONDS_PER_PIXEL[0] * world.pixels * 600  # every frame at the narrowest
    assert spent >= 0.9 * min(share * 60.0, need)


def encode_seconds(frames: list[FrameOutcome], pixels: int) -> float:
    return sum(SECONDS_PER_PIXEL[f.point.level] * pixels for f in frames if f.point)


@few
@given(rates)
def test_a_longer_deadline_is_never_worse_on_a_constant_link(rate: float) -> None:
    reached = [
        accuracy(control(make_camera(rate, deadline_seconds=d)), 5.0) for d in (0.4, 0.7, 1.0, 2.0)
    ]

    assert all(b >= a - 0.01 for a, b in pairwise(reached))


def test_an_empty_fast_link_gets_the_best_point() -> None:
    run = control(make_camera(10e6, cloud_seconds=0.02, credit_bytes=2**20))

    best = max(p.utility for p in POINTS)
    assert accuracy(run, 5.0) >= best - 0.011


def test_a_slow_cloud_is_not_given_more_frames_than_it_can_answer_in_time() -> None:
    run = control(make_camera(10e6, cloud_seconds=0.4))

    best = max(p.utility for p in POINTS)
    assert late(sent(run, 5.0), run.deadline_seconds) == 0
    assert accuracy(run, 5.0) >= 0.9 * best * 0.25  # one frame in four is all it can answer
