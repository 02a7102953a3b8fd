"""The encoder's share of the processor is kept over any time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.budget import BURST_SECONDS, CpuAccount


@given(
    st.floats(0.01, 1),
    st.lists(st.tuples(st.floats(0, 2), st.floats(0.001, 0.8)), max_size=100),
)
def test_no_more_is_spent_than_the_share_and_one_burst_or_frame(
    share: float, frames: list[tuple[float, float]]
) -> None:
    account, now, spent, longest = CpuAccount(share), 0.0, 0.0, 0.0
    account.advance(now)
    for gap, seconds in frames:
        now += gap
        account.advance(now)
        if account.covers(seconds):
            account.spend(seconds)
            spent += seconds
            longest = max(longest, seconds)
        assert spent <= share * now + max(BURST_SECONDS * share, longest) + 1e-6


@given(st.floats(0.01, 1), st.floats(0.001, 0.8))
def test_the_share_is_used(share: float, seconds: float) -> None:
    account, spent = CpuAccount(share), 0.0
    for step in range(6001):
        account.advance(step * 0.01)
        while account.covers(seconds):
            account.spend(seconds)
            spent += seconds

    assert spent >= share * 60 - seconds


def test_without_a_share_everything_is_covered() -> None:
    account = CpuAccount(None)
    account.advance(0.0)
    account.spend(1e9)

    assert account.covers(1e9)
    assert account.affordable(0.1) == float("inf")


def test_a_warm_up_before_the_first_decision_is_not_counted() -> None:
    account = CpuAccount(0.1)
    account.spend(5.0)
    account.advance(100.0)

    assert account.covers(0.1)


def test_what_is_saved_allows_wider_levels_and_what_is_owed_narrower_ones() -> None:
    account = CpuAccount(0.5)
    account.advance(0.0)
    saved = account.affordable(0.1)
    account.spend(0.4)

    assert account.affordable(0.1) < 0.05 < saved
