"""Links of our own making."""

from __future__ import annotations

from slimlinks.synthetic import synthetic_traces


def test_they_are_the_same_at_every_call_and_known_by_their_names() -> None:
    traces = synthetic_traces()

    assert list(traces) == ["steps", "hole", "drive"]
    assert traces == synthetic_traces()
    assert all(name == trace.name for name, trace in traces.items())


def test_a_hole_lasts_four_seconds_in_twenty() -> None:
    hole = synthetic_traces()["hole"]

    assert hole.bytes_between(16, 20) == 0
    assert hole.finish(16, 1) > 20
    assert hole.bytes_between(20, 36) == hole.bytes_between(0, 16) == 16 * 100_000


def test_a_drive_goes_through_a_tunnel_and_stays_within_its_rates() -> None:
    drive = synthetic_traces()["drive"]

    assert drive.bytes_between(38, 40) == 0
    assert drive.seconds == 60
    assert all(rate == 0 or 6_250 <= rate <= 375_000 for rate in drive.bytes_per_second)
