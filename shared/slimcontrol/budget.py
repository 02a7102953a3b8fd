"""The byte budget of a metered link: a second, slower link that nobody waits for.

    bytes saved += rate * time, up to one period's worth;  -= what is sent
    below 0: a backlog, as on a link: beyond a second of it, frames wait
    above 0: what was saved in quiet hours is spent over one period

A restart of the edge begins with nothing saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 1.0  # of the rate may be sent ahead: within 1 % of what two minutes allow


@dataclass(frozen=True, slots=True)
class Budget:
    """So many container bytes in each period, in the long run."""

    container_bytes: int
    period_seconds: int

    @property
    def bytes_per_second(self) -> float:
        return self.container_bytes / self.period_seconds


@dataclass(frozen=True, slots=True)
class BudgetView:
    """What a decision needs to know about the budget right now."""

    bytes_per_second: float  # to plan with
    backlog_seconds: float = 0.0  # sent ahead of the budget, at its rate

    @property
    def is_open(self) -> bool:
        """Whether another frame may go."""
        return self.backlog_seconds < BURST_SECONDS


NO_BUDGET = BudgetView(float("inf"))


class BudgetAccount:
    """Holds what was sent against a budget.

    Args:
        budget: To keep to; None = there is none.
        sent_bytes: Reads the container bytes that were ever sent.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        budget: Budget | None,
        sent_bytes: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._sent_bytes = sent_bytes
        self._clock = clock
        self.set(budget)

    def set(self, budget: Budget | None) -> None:
        """Keep to another budget from now on, with nothing saved and nothing owed."""
        self.budget = budget
        self._saved_bytes = 0.0
        self._counted_bytes = self._sent_bytes()
        self._counted_at = self._clock()

    def view(self) -> BudgetView:
        """Look at the budget now."""
        budget = self.budget
        if budget is None:
            return NO_BUDGET
        now, sent, rate = self._clock(), self._sent_bytes(), budget.bytes_per_second
        gained = rate * (now - self._counted_at) - (sent - self._counted_bytes)
        self._saved_bytes = min(self._saved_bytes + gained, float(budget.container_bytes))
        self._counted_at, self._counted_bytes = now, sent
        saved = max(0.0, self._saved_bytes) / budget.period_seconds
        return BudgetView(rate + saved, max(0.0, -self._saved_bytes) / rate)
