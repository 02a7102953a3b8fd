"""When the smallest picture goes though it cannot be in time: to learn whether the link is better.

A link of which nothing is asked teaches nothing. So the first probe goes as soon as the link is
idle, and each that comes late doubles the wait for the next. One that comes in time ends the wait.
"""

from __future__ import annotations

_FIRST_GAP_SECONDS = 0.5
LONGEST_GAP_SECONDS = 8.0  # a link that has recovered is found so late at worst


class ProbeTimer:
    """Says when a probe is due."""

    def __init__(self) -> None:
        self._gap = 0.0
        self._due = float("-inf")  # monotonic seconds

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def sent(self, now: float) -> None:
        """A probe goes now."""
        self._gap = min(LONGEST_GAP_SECONDS, max(_FIRST_GAP_SECONDS, 2 * self._gap))
        self._due = now + self._gap

    def reset(self) -> None:
        """A frame came in time, or the link is another: the next probe need not wait."""
        self._gap = 0.0
        self._due = float("-inf")
