"""What acknowledgements say of the link: its rate, its round trip, its backlog."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.link import LinkBelief, LinkView

ROUND_TRIP = 0.05


@dataclass
class Frame:
    size_bytes: int
    sent_at: float | None
    behind: bool = False


def make_belief(rate: float = 100_000.0) -> LinkBelief:
    """Knows a link that has carried one frame."""
    belief = LinkBelief()
    belief.on_connected(ROUND_TRIP)
    arrival = 10_000 / rate + ROUND_TRIP
    belief.on_received(arrival, Frame(10_000, 0.0), 1000 + arrival, 10_000)
    return belief


def view(in_flight_bytes: int, oldest_seconds: float, oldest_bytes: int) -> LinkView:
    return LinkView(
        in_flight_bytes, oldest_seconds, 1, 2**20, 2**20, oldest_in_flight_bytes=oldest_bytes
    )


@given(st.floats(5_000, 90_000), st.integers(2_000, 60_000))
def test_the_rate_of_a_slow_link_is_learnt_and_stays_right_for_hours(
    rate: float, size_bytes: int
) -> None:
    belief = LinkBelief()
    belief.on_connected(ROUND_TRIP)
    now = 0.0
    for count in range(1, 400):  # ten seconds apart: longer than any window would be
        sent_at, now = now, now + size_bytes / rate + ROUND_TRIP
        belief.on_received(now, Frame(size_bytes, sent_at), now + 77.0, count * size_bytes)
        now += 10.0

    assert belief.rate.mean == pytest.approx(rate, rel=1e-6)
    assert belief.round_trip == ROUND_TRIP


@given(st.floats(0.0, 0.02), st.integers(2_000, 60_000))
def test_a_delay_within_jitter_does_not_make_the_link_look_faster_than_it_shows(
    jitter: float, size_bytes: int
) -> None:
    belief = make_belief(20_000.0)
    for count in range(1, 20):
        now = 10.0 * count
        frame = Frame(size_bytes, now - ROUND_TRIP - jitter)
        belief.on_received(now, frame, 1000 + now, 10_000 + count * size_bytes)

    assert belief.rate.mean <= max(20_000.0, size_bytes / 0.02) * (1 + 1e-6)


def test_frames_that_stood_in_line_show_the_pace_of_the_link_on_the_clock_of_the_server() -> None:
    belief = make_belief(100_000.0)
    for count in range(1, 30):  # 5,000 bytes each 0.1 s there, whatever the acks take to come
        now = 0.15 + 0.1 * count
        belief.on_received(
            now, Frame(5_000, now - 0.2, behind=True), 1000 + now, 10_000 + count * 5_000
        )

    assert belief.rate.mean == pytest.approx(50_000, rel=0.01)


def test_the_backlog_runs_down_while_no_ack_is_due() -> None:
    belief = make_belief()

    queues = [belief.queue(1.0 + t, view(20_000, t, 20_000), 100_000.0) for t in (0.0, 0.1, 0.2)]

    assert [queue.seconds for queue in queues] == pytest.approx([0.2, 0.1, 0.0])
    assert {queue.rate for queue in queues} == {100_000.0}


def test_an_overdue_ack_of_the_oldest_frame_holds_the_backlog_and_lowers_the_rate() -> None:
    belief = make_belief()

    due = belief.queue(1.15, view(30_000, 0.15, 10_000), 100_000.0)
    overdue = belief.queue(1.35, view(30_000, 0.35, 10_000), 100_000.0)

    assert due.seconds == pytest.approx(0.15)
    assert overdue.rate == pytest.approx(100_000 * 0.15 / 0.35)
    assert overdue.seconds == pytest.approx(0.2 + 20_000 / overdue.rate)


def test_another_stream_begins_with_its_own_round_trip() -> None:
    belief = make_belief()
    belief.on_connected(0.2)

    assert belief.round_trip == 0.2
    assert belief.queue(6.0, view(10_000, 0.0, 10_000), 100_000.0).seconds == pytest.approx(0.1)


def test_an_ack_of_a_frame_of_an_earlier_stream_teaches_nothing() -> None:
    belief = make_belief()
    before = belief.rate.mean, belief.round_trip

    belief.on_received(1.0, Frame(33_333, None), 1001.0, 50_000)

    assert (belief.rate.mean, belief.round_trip) == before


def test_without_the_oldest_frames_bytes_all_that_is_on_its_way_is_taken_for_it() -> None:
    belief = make_belief()

    queue = belief.queue(1.25, view(30_000, 0.25, 0), 100_000.0)

    assert queue.seconds == pytest.approx(0.05)
    assert queue.rate == 100_000.0


def test_a_thousand_streams_without_an_answer_leave_a_rate_to_plan_with() -> None:
    belief = make_belief(rate := 100_000.0)

    for _ in range(1000):  # doubled each time, the doubt made the rate zero at the twenty-second
        belief.on_connected(ROUND_TRIP)

    assert rate / 4 < belief.rate.sure < belief.rate.safe < rate
