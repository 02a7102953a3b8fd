"""A byte budget holds in the long run, whatever is sent when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimcontrol.budget import BURST_SECONDS, Budget, BudgetAccount


class Metered:
    def __init__(self, budget: Budget | None) -> None:
        self.now, self.sent = 0.0, 0
        self.account = BudgetAccount(budget, lambda: self.sent, lambda: self.now)


def test_without_a_budget_everything_may_go() -> None:
    metered = Metered(None)
    metered.sent = 10**12

    assert metered.account.view().is_open


def test_what_is_sent_ahead_closes_the_budget_until_time_has_paid_for_it() -> None:
    metered = Metered(Budget(1000, 10))
    metered.sent = 150

    assert not metered.account.view().is_open
    metered.now = 0.6
    view = metered.account.view()
    assert view.is_open
    assert abs(view.backlog_seconds - 0.9) < 1e-9


def test_quiet_hours_raise_the_rate_up_to_one_period() -> None:
    metered = Metered(Budget(1000, 10))
    metered.now = 1e6

    assert metered.account.view().bytes_per_second == 200.0


def test_another_budget_begins_anew() -> None:
    metered = Metered(Budget(10, 10))
    metered.sent = 10_000

    metered.account.set(Budget(1000, 10))

    assert metered.account.view().backlog_seconds == 0.0


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.integers(1, 400)), max_size=100),
    st.integers(1, 60),
)
def test_no_more_is_sent_than_time_and_a_second_ahead_allow(
    frames: list[tuple[float, int]], period_seconds: int
) -> None:
    budget = Budget(100 * period_seconds, period_seconds)
    metered = Metered(budget)
    for seconds, size_bytes in frames:
        metered.now += seconds
        if metered.account.view().is_open:
            metered.sent += size_bytes
        earned = budget.bytes_per_second * (metered.now + BURST_SECONDS)
        assert metered.sent <= earned + 400
