"""The bound against every possible choice, carried out one by one in the simulator."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcontrol.budget import BURST_SECONDS, Budget
from slimlinks.trace import Trace, constant_trace
from studies.controller.bound.oracle import bound, most_bytes, oracle
from studies.controller.simulation.outcome import summarise
from studies.controller.simulation.policy import Policy
from studies.controller.simulation.simulate import simulate
from studies.controller.simulation.world import World
from studies.controller.tests.simulated import (
    LARGE,
    SMALL,
    Always,
    OnlyWhenIdle,
    Scripted,
    make_content,
    make_controller,
    make_related_content,
    make_world,
)

CHOICES = (None, SMALL, LARGE)


def accuracy(policy: Policy, world: World) -> float:
    return summarise(simulate(policy, world)).in_deadline_accuracy


def best_by_trying_all(world: World, allowed_bytes: float = np.inf) -> float:
    """The best of all 3^n ways to send n frames."""
    best = 0.0
    for script in product(CHOICES, repeat=world.frame_count):
        outcome = summarise(simulate(Scripted(script, world.fps), world))
        if outcome.sent_bytes <= allowed_bytes:
            best = max(best, outcome.in_deadline_accuracy)
    return best


def test_no_policy_has_more_where_frames_refer_to_frames() -> None:
    world = make_world(content=make_related_content(), trace=constant_trace(1200.0), seconds=6.0)

    assert accuracy(make_controller(world), world) <= oracle(world)
    assert oracle(world) > oracle(replace(world, content=world.content.alone))


@st.composite
def worlds(draw: st.DrawFn, frames: int, *, free: bool) -> World:
    """Worlds in which every queue matters; a free one has no credit and no pace."""
    rates = draw(st.lists(st.sampled_from([0.0, 3e3, 1e4, 3e4, 1e5]), min_size=1, max_size=6))
    rates[-1] = rates[-1] or 1e4
    piece = draw(st.sampled_from([0.1, 0.37, 1.0]))
    fps = draw(st.sampled_from([2.0, 7.0, 10.0]))
    sizes = draw(
        st.lists(st.tuples(st.integers(200, 3000), st.integers(500, 9000)), min_size=1, max_size=5)
    )
    return make_world(
        trace=Trace(
            "made",
            "made",
            tuple(n * piece for n in range(len(rates))),
            tuple(rates),
            len(rates) * piece,
        ),
        trace_offset_seconds=draw(st.floats(0, 3)),
        content=make_content(sizes),
        seconds=frames / fps,
        fps=fps,
        max_fps=1e9 if free else None,
        credit_bytes=10**9 if free else draw(st.sampled_from([1000, 6000, 64_000])),
        encode_seconds={0: draw(st.floats(0.001, 0.2)), 1: draw(st.floats(0.001, 0.4))},
        encode_spread=draw(st.sampled_from([0.0, 0.5])),
        cloud_spread=draw(st.sampled_from([0.0, 0.5])),
        round_trip_seconds=draw(st.floats(0, 0.2)),
        cloud_seconds=draw(st.floats(0, 0.3)),
        cloud_delay_seconds=draw(st.sampled_from([0.0, 0.03])),
        deadline_seconds=draw(st.floats(0.05, 1.5)),
        overhead_bytes=draw(st.integers(0, 100)),
        utility=draw(
            st.sampled_from(
                [
                    lambda point: point.utility,
                    lambda point: 1.0,
                    lambda point: 0.1 if point == SMALL else 1.0,
                ]
            )
        ),
    )


@settings(max_examples=25, deadline=None)
@given(worlds(5, free=True))
def test_bound_without_merging_is_the_best_of_all_choices(world: World) -> None:
    best = best_by_trying_all(world)

    found = bound(world, max_states=None, with_lower=True)

    assert found.merged_frames == 0
    assert found.upper == found.lower == pytest.approx(best, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(worlds(5, free=True), st.integers(1, 3))
def test_truth_lies_between_the_bounds_where_states_are_merged(world: World, most: int) -> None:
    best = best_by_trying_all(world)

    found = bound(world, max_states=most, with_lower=True)

    assert found.lower is not None
    assert found.lower - 1e-9 <= best <= found.upper + 1e-9


@settings(max_examples=20, deadline=None)
@given(worlds(5, free=False), st.sampled_from([None, 2]))
def test_no_choice_beats_the_bound_under_credit_and_pace(world: World, most: int | None) -> None:
    assert best_by_trying_all(world) <= bound(world, max_states=most).upper + 1e-9


@settings(max_examples=25, deadline=None)
@given(worlds(60, free=False))
def test_no_policy_beats_the_bound(world: World) -> None:
    highest = oracle(world)

    for policy in (Always(SMALL), Always(LARGE), OnlyWhenIdle(LARGE), make_controller(world)):
        assert accuracy(policy, world) <= highest + 1e-9


@settings(max_examples=15, deadline=None)
@given(worlds(40, free=False))
def test_more_states_only_tighten_the_bound_around_the_truth(world: World) -> None:
    exact = bound(world, max_states=None).upper

    merged = bound(world, max_states=5, with_lower=True)

    assert merged.lower is not None
    assert merged.lower - 1e-9 <= exact <= merged.upper + 1e-9


@settings(max_examples=15, deadline=None)
@given(worlds(4, free=True), st.integers(0, 20_000))
def test_bound_with_a_budget_holds_for_all_choices_within_it(world: World, allowed: int) -> None:
    best = best_by_trying_all(world, allowed)

    found = bound(world, max_states=None, allowed_bytes=allowed)

    assert found.upper >= best - 1e-9
    assert found.upper <= bound(world, max_states=None).upper + 1e-9


def test_budget_of_half_the_bytes_leaves_what_small_frames_are_worth() -> None:
    # 10 frames of 1000 or 4000 B, worth 0.5 or 1: 25,000 B are 5 small ones and 5 large ones.
    world = make_world(seconds=10.0)

    assert bound(world).upper == 1.0
    assert bound(world, allowed_bytes=25_000).upper == pytest.approx(0.75, abs=2e-3)
    assert bound(world, allowed_bytes=10_000).upper == pytest.approx(0.5, abs=2e-3)
    assert bound(world, allowed_bytes=0).upper == pytest.approx(0.0, abs=2e-3)


def test_world_with_a_budget_is_bounded_by_what_its_account_lets_through() -> None:
    world = make_world(seconds=100.0, budget=Budget(10_000, 10))  # 1000 B/s

    within = oracle(world)

    # what comes in 100 s, what may be sent ahead of it, and the frame that goes beyond that
    allowed = 1000 * (100 + BURST_SECONDS) + 4000
    assert most_bytes(world) == allowed
    # 100 frames of 1 kB are worth 0.5 each; with 3 kB more one is worth 1
    assert within == pytest.approx(0.5 + 0.5 * (allowed - 100_000) / 3000 / 100, abs=2e-3)


def test_dead_link_and_useless_points_are_worth_nothing() -> None:
    assert oracle(make_world(trace=constant_trace(0.0))) == 0.0
    assert oracle(make_world(utility=lambda point: 0.0)) == 0.0
    assert oracle(make_world(max_frame_bytes=1)) == 0.0


def test_known_best_plan_is_found() -> None:
    # A frame each 0.25 s, due 0.5 s after it: a large one takes the link 0.4 s, a small one 0.1 s.
    # Large ones cannot follow each other; large, small, large, small ... ends each pair in 0.5 s.
    world = make_world(
        seconds=2.0,
        fps=4.0,
        deadline_seconds=0.5,
        encode_seconds={0: 0.001, 1: 0.001},
    )

    assert bound(world, max_states=None).upper == pytest.approx(0.75)
