"""Probes become rare while they come late, and never cease."""

from __future__ import annotations

from slimcontrol.link import LONGEST_PROBE_SECONDS, ProbeTimer


def count_probes(seconds: float) -> int:
    timer, probes = ProbeTimer(), 0
    for step in range(round(seconds * 100)):
        if timer.is_due(step / 100):
            timer.sent(step / 100)
            probes += 1
    return probes


def test_the_first_goes_at_once_and_the_rest_ever_less_often() -> None:
    assert count_probes(0.4) == 1
    assert count_probes(3.0) == 3
    assert count_probes(60.0) <= 60 / LONGEST_PROBE_SECONDS + 4


def test_they_never_cease() -> None:
    assert count_probes(1000.0) >= 1000 / LONGEST_PROBE_SECONDS - 1


def test_success_ends_the_wait() -> None:
    timer = ProbeTimer()
    for now in (0.0, 1.0, 3.0):
        timer.sent(now)
    assert not timer.is_due(3.5)

    timer.reset()

    assert timer.is_due(3.5)
