"""Whether a camera keeps to the byte budget that it stated. The cloud reports; it enforces nothing,
for bytes that have arrived are paid for already.

    may still send = at first one period's bytes: it may have saved them
                     + rate * time, up to one period's bytes
                     - what arrives

Below 0 it has broken its budget, however it spread its bytes. After a report the account begins
anew, so each stands for one more period's bytes.
"""

import time
from collections.abc import Callable

from slimcontrol.budget import Budget


class Spending:
    """The account of one stream.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.keep_to(None)

    def keep_to(self, budget: Budget | None) -> None:
        """Watch another budget from now on; None or 0 bytes = none."""
        self._budget = budget if budget is not None and budget.container_bytes else None
        self._left_bytes = 0.0 if self._budget is None else float(self._budget.container_bytes)
        self._counted_at = self._clock()

    def spend(self, size_bytes: int) -> bool:
        """Count what has arrived; whether the budget is broken by it."""
        budget = self._budget
        if budget is None:
            return False
        now = self._clock()
        gained = budget.bytes_per_second * (now - self._counted_at)
        left = min(self._left_bytes + gained, float(budget.container_bytes)) - size_bytes
        self._left_bytes, self._counted_at = left, now
        if left >= 0:
            return False
        self.keep_to(budget)
        return True
