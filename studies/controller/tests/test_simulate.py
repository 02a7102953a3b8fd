"""Tiny worlds, worked out by hand; then what must hold in every world."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcontrol.budget import Budget
from slimcontrol.controller import NextKind, WaitReason
from slimlinks.trace import Trace, constant_trace
from studies.controller.errors import ContentError, WorldError
from studies.controller.simulation.run import Run, Unsent
from studies.controller.simulation.simulate import SERVER_CLOCK_AHEAD_SECONDS, simulate
from studies.controller.simulation.world import World
from studies.controller.tests.simulated import (
    LARGE,
    SMALL,
    Always,
    OnlyWhenIdle,
    make_content,
    make_controller,
    make_related_content,
    make_world,
)

AHEAD = SERVER_CLOCK_AHEAD_SECONDS


def test_one_frame_takes_its_steps_in_turn() -> None:
    world = make_world(seconds=1.0, round_trip_seconds=0.2, cloud_seconds=0.05, overhead_bytes=500)
    policy = Always(SMALL)

    (frame,) = simulate(policy, world).frames

    assert frame.encoded_at == frame.sent_at == pytest.approx(0.01)
    assert frame.received_at == pytest.approx(0.01 + 1500 / 10_000 + 0.1)
    assert frame.detected_at == pytest.approx(0.26 + 0.05 + 0.1)
    assert (frame.size_bytes, frame.utility, frame.reason) == (1000, 0.5, None)
    assert policy.told("connected") == [(0.0, 0.2)]
    assert policy.told("encoded") == [(0, 0.0, 100, 1000, 0.01)]
    assert policy.told("received") == [
        (pytest.approx(0.36), 1000, 0.01, False, pytest.approx(0.26 + AHEAD), 1000)
    ]
    assert policy.told("detected") == [(pytest.approx(0.26 + AHEAD), pytest.approx(0.31 + AHEAD))]


def test_frames_queue_on_the_link_and_then_in_the_cloud() -> None:
    # 0.4 s on the link, 0.5 s in the cloud, a new picture every 0.25 s: both queues grow.
    world = make_world(seconds=1.0, fps=4.0, encode_seconds={0: 0.01, 1: 0.1}, cloud_seconds=0.5)

    frames = simulate(Always(LARGE), world).frames

    assert [f.received_at for f in frames] == pytest.approx([0.5, 0.9, 1.3, 1.7])
    assert [f.detected_at for f in frames] == pytest.approx([1.0, 1.5, 2.0, 2.5])


def test_frames_refer_to_those_that_are_known_to_be_there() -> None:
    world = make_world(content=make_related_content(), seconds=62.0)
    policy = Always(SMALL)

    sizes = [frame.size_bytes for frame in simulate(policy, world).frames]

    # a key, then frame n against n & (n - 1): one, then two, then one, then four before it
    assert sizes[:5] == [1000, 100, 141, 100, 200]
    assert [at for at, size in enumerate(sizes) if size == 1000] == [0, 60]
    kinds = [offer.kind for offer in policy.offers]
    assert kinds[:2] == [NextKind.KEY, NextKind.INTER]
    assert kinds.count(NextKind.KEY) == 2


def test_a_frame_is_alone_until_the_first_is_known_to_be_there() -> None:
    # 0.9 s on the link and 0.25 s from picture to picture: three more before the key's RECEIVED
    trip = {"round_trip_seconds": 1.6, "trace": constant_trace(10_000.0)}
    world = make_world(content=make_related_content(), seconds=3.0, fps=2.0, **trip)

    sizes = [frame.size_bytes for frame in simulate(Always(SMALL), world).frames]

    assert sizes[:4] == [1000] * 4
    assert max(sizes[4:]) < 1000


def test_rates_pair_with_the_bytes_that_the_server_had() -> None:
    world = make_world(seconds=1.0, fps=4.0, encode_seconds={0: 0.01, 1: 0.1})
    policy = Always(LARGE)

    simulate(policy, world)

    received = policy.told("received")
    assert [call[3] for call in received] == [False, True, True, True]  # behind another
    gaps = [(b[4] - a[4], b[5] - a[5]) for a, b in pairwise(received)]
    assert gaps == [(pytest.approx(0.4), 4000)] * 3


def test_nothing_arrives_while_the_link_carries_nothing() -> None:
    hole = Trace("hole", "made", (0.0, 1.005, 3.0), (10_000.0, 0.0, 10_000.0), 10.0)
    world = make_world(trace=hole, seconds=3.0)

    frames = simulate(Always(SMALL), world).frames

    # The frame of second 1 is sent at 1.01, inside the hole, and the next one queues behind it.
    assert [f.received_at for f in frames] == pytest.approx([0.11, 3.1, 3.2])


def test_a_trace_begins_where_the_world_says_and_repeats() -> None:
    trace = Trace("steps", "made", (0.0, 1.0), (10_000.0, 1000.0), 2.0)
    world = make_world(trace=trace, trace_offset_seconds=5.0, seconds=2.0)

    frames = simulate(Always(SMALL), world).frames

    # At first the slow second, then again the fast one: 990 B until 1.0, the last 10 B after it.
    assert frames[0].received_at == pytest.approx(1.001)
    assert frames[1].received_at == pytest.approx(1.11)


def test_a_dead_link_never_answers() -> None:
    policy = Always(SMALL)

    frames = simulate(policy, make_world(trace=constant_trace(0.0), seconds=3.0)).frames

    assert [f.detected_at for f in frames] == [None] * 3
    assert [f.sent_at for f in frames] == pytest.approx([0.01, 1.01, 2.01])
    assert policy.offers[2].link.oldest_in_flight_seconds == pytest.approx(2.0 - 0.01)
    assert policy.offers[2].link.in_flight_bytes == 2000


def test_newest_picture_replaces_the_one_that_waits_for_the_encoder() -> None:
    world = make_world(seconds=1.0, fps=10.0, encode_seconds={0: 0.26, 1: 0.26})

    frames = simulate(Always(SMALL), world).frames

    # Taken at 0, 0.26 (the picture of 0.2), 0.52, 0.78 (of 0.7) and 1.04 (the last one).
    encoded = [f.index for f in frames if f.encoded_at is not None]
    assert encoded == [0, 2, 5, 7, 9]
    assert {f.reason for f in frames if f.encoded_at is None} == {Unsent.REPLACED}


def test_a_picture_that_waits_is_offered_again_and_replaced_by_a_newer_one() -> None:
    # 0.4 s on the link for every frame, a picture every 0.25 s, one on its way at a time.
    world = make_world(seconds=1.0, fps=4.0)
    policy = OnlyWhenIdle(LARGE)

    frames = simulate(policy, world).frames

    # Sent at 0.05, result at 0.45: the picture of 0.25 goes then; its result comes at 0.9, when
    # that of 0.5 has given way to that of 0.75.
    assert [f.sent_at for f in frames] == [
        pytest.approx(0.05),
        pytest.approx(0.5),
        None,
        pytest.approx(0.95),
    ]
    assert frames[2].reason is WaitReason.INFEASIBLE
    asked = [round(offer.now, 6) for offer in policy.offers]
    # RECEIVED lets it look once while the result is outstanding, DETECTED at the same time again.
    assert asked == [0.0, 0.25, 0.45, 0.45, 0.5, 0.75, 0.9, 0.9]


def test_edge_sends_no_faster_than_it_is_told() -> None:
    world = make_world(seconds=1.0, fps=10.0, max_fps=2.0)

    frames = simulate(Always(SMALL), world).frames

    # The first two frames set the pace going, so the third is free, too; then one each 0.5 s.
    sent = [f.sent_at for f in frames if f.sent_at is not None]
    assert sent == pytest.approx([0.01, 0.11, 0.21, 0.52, 1.02])


def test_credit_holds_back_what_does_not_fit() -> None:
    world = make_world(seconds=4.0, credit_bytes=4500, trace=constant_trace(1000.0))
    policy = Always(LARGE)

    frames = simulate(policy, world).frames

    # The first one is on its way until 4.05; the second is encoded by then, and waits for room.
    assert frames[1].encoded_at == pytest.approx(1.05)
    assert [f.sent_at for f in frames] == [
        pytest.approx(0.05),
        pytest.approx(4.05),
        None,
        pytest.approx(8.05),
    ]
    assert frames[2].reason is Unsent.REPLACED
    assert policy.offers[2].link.in_flight_bytes == 4000


def test_frame_larger_than_the_window_goes_alone() -> None:
    world = make_world(seconds=2.0, credit_bytes=1000)

    frames = simulate(Always(LARGE), world).frames

    assert [f.sent_at for f in frames] == pytest.approx([0.05, 1.05])


def test_frame_larger_than_the_cloud_takes_is_not_sent() -> None:
    frames = simulate(Always(LARGE), make_world(max_frame_bytes=3999)).frames

    assert {f.reason for f in frames} == {Unsent.TOO_LARGE}
    assert {f.sent_at for f in frames} == {None}


def test_cloud_throws_away_what_expired_in_its_queue() -> None:
    world = make_world(seconds=4.0, cloud_seconds=2.5, expire_seconds=3.0)

    frames = simulate(Always(SMALL), world).frames

    # Turns come at 0.11, 2.61, 5.11 (too old: 3.11 s) and 5.11 (2.11 s old).
    assert [f.detected_at for f in frames] == [
        pytest.approx(2.61),
        pytest.approx(5.11),
        None,
        pytest.approx(7.61),
    ]


def test_budget_is_kept_by_the_account_of_the_edge() -> None:
    world = make_world(seconds=20.0, budget=Budget(1000, 10))
    policy = Always(SMALL)

    run = simulate(policy, world)

    views = [offer.budget for offer in policy.offers]
    assert [view.backlog_seconds for view in views[:3]] == pytest.approx([0.0, 9.0, 18.0])
    assert [view.is_open for view in views[:3]] == [True, False, False]
    assert run.budget_bytes_per_second == 100.0


def test_warm_up_teaches_each_level_before_the_first_picture() -> None:
    policy = Always(SMALL)

    simulate(policy, make_world(warm_up=True, seconds=1.0))

    assert policy.calls[0][0] == "connected"
    assert policy.told("encoded")[:2] == [(0, 0.0, 100, 1000, 0.01), (1, 0.0, 100, 4000, 0.05)]


def test_pixels_scale_the_bytes_of_another_size() -> None:
    frames = simulate(Always(SMALL), make_world(image_hw=(20, 10))).frames

    assert frames[0].size_bytes == 2000


def test_worlds_that_cannot_be_are_refused() -> None:
    with pytest.raises(WorldError, match="fps"):
        make_world(fps=0.0)
    with pytest.raises(WorldError, match="max_fps"):
        make_world(max_fps=0.0)
    with pytest.raises(WorldError, match="cloud_seconds"):
        make_world(cloud_seconds=-1.0)
    with pytest.raises(WorldError, match="greeting_seconds"):
        make_world(greeting_seconds=-1.0)
    with pytest.raises(WorldError, match="level 1 has no encode_seconds"):
        make_world(encode_seconds={0: 1.0})
    with pytest.raises(WorldError, match="no points"):
        make_world(points=())
    with pytest.raises(ContentError, match="level 1, quality 0"):
        make_world(content=replace(make_content(), levels=(0, 0), qualities=(0.0, 1.0)))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    rates = draw(st.lists(st.sampled_from([0.0, 500.0, 3000.0, 20_000.0, 1e6]), min_size=1))
    if not any(rates):
        rates.append(1000.0)
    trace = Trace("made", "made", tuple(map(float, range(len(rates)))), tuple(rates), len(rates))
    return make_world(
        trace=trace,
        trace_offset_seconds=draw(st.floats(0, 10)),
        seconds=draw(st.floats(1, 20)),
        fps=draw(st.sampled_from([1.0, 4.0, 15.0])),
        encode_seconds={0: draw(st.floats(0.001, 0.3)), 1: draw(st.floats(0.001, 0.3))},
        round_trip_seconds=draw(st.floats(0, 0.5)),
        cloud_seconds=draw(st.floats(0, 0.3)),
        encode_spread=draw(st.sampled_from([0.0, 0.3])),
        cloud_spread=draw(st.sampled_from([0.0, 0.3])),
        overhead_bytes=draw(st.integers(0, 200)),
        credit_bytes=draw(st.sampled_from([1000, 6000, 64_000])),
    )


def _runs(world: World) -> list[Run]:
    policies = (Always(SMALL), Always(LARGE), OnlyWhenIdle(SMALL), make_controller(world))
    return [simulate(policy, world) for policy in policies]


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_order_and_bytes_are_kept_in_every_world(world: World) -> None:
    for run in _runs(world):
        sent = [f for f in run.frames if f.sent_at is not None]
        assert len(run.frames) == world.frame_count
        for frame in run.frames:
            assert (frame.sent_at is None) == (frame.reason is not None)
        for frame in sent:
            assert frame.encoded_at is not None
            assert frame.sent_at is not None
            times = [frame.captured_at, frame.encoded_at, frame.sent_at]
            times += [t for t in (frame.received_at, frame.detected_at) if t is not None]
            assert times == sorted(times)
        for a, b in pairwise(sent):
            assert a.captured_at < b.captured_at
            if a.received_at is None or b.received_at is None:
                continue
            assert a.received_at <= b.received_at
            # what lies between two arrivals passed the link between them
            offset = world.trace_offset_seconds - world.round_trip_seconds / 2
            room = world.trace.bytes_between(a.received_at + offset, b.received_at + offset)
            assert b.size_bytes + world.overhead_bytes <= room * (1 + 1e-9) + 1e-3


@settings(max_examples=30, deadline=None)
@given(worlds())
def test_edge_never_has_more_on_its_way_than_the_credit(world: World) -> None:
    policy = Always(LARGE)

    simulate(policy, world)

    for offer in policy.offers:
        assert offer.link.in_flight_bytes <= max(world.credit_bytes, 4000)


@settings(max_examples=20, deadline=None)
@given(worlds())
def test_same_world_and_policy_give_the_same_run(world: World) -> None:
    assert _runs(world) == _runs(replace(world))
