"""What arrives against what a camera said that it keeps to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimcloud.ingest.spending import Spending
from slimcontrol.budget import BURST_SECONDS, Budget, BudgetAccount

MINUTELY = Budget(600, 60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_period_at_once_is_within_the_budget_and_another_is_not() -> None:
    clock = Clock()
    spending = Spending(clock)
    spending.keep_to(MINUTELY)

    assert not spending.spend(600)
    clock.now += 30
    assert not spending.spend(300)
    assert spending.spend(1)


def test_each_report_stands_for_one_more_period() -> None:
    spending = Spending(Clock())
    spending.keep_to(MINUTELY)

    reports = sum(spending.spend(100) for _ in range(21))

    assert reports == 3


def test_nothing_is_saved_beyond_one_period() -> None:
    clock = Clock()
    spending = Spending(clock)
    spending.keep_to(MINUTELY)
    clock.now += 3600

    assert spending.spend(601)


def test_without_a_budget_nothing_is_too_much() -> None:
    spending = Spending(Clock())
    assert not spending.spend(10**12)

    spending.keep_to(MINUTELY)
    spending.keep_to(Budget(0, 60))

    assert not spending.spend(10**12)


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(1, 100)), max_size=60))
def test_a_camera_that_keeps_its_account_is_never_reported(
    steps: list[tuple[float, int]],
) -> None:
    """Its frames are smaller than what it may send ahead leaves of a period."""
    clock, sent_bytes = Clock(), 0
    account = BudgetAccount(
        Budget(MINUTELY.container_bytes, MINUTELY.period_seconds), lambda: sent_bytes, clock
    )
    spending = Spending(clock)
    spending.keep_to(MINUTELY)
    assert MINUTELY.container_bytes > BURST_SECONDS * 10 + 100

    for pause, size_bytes in steps:
        clock.now += pause
        if account.view().is_open:
            sent_bytes += size_bytes
            assert not spending.spend(size_bytes)
