"""The encoder's share of the processor: an account of seconds, as the byte budget is one of bytes.

    balance += share * time, up to one second's worth;  -= what encoding took

A frame may be encoded while the balance covers what it is expected to take, or is full: else a
frame of more than a second's worth could never go. So over any time the share is kept to within
that second's worth, or one frame, and the error of the last expectation.
"""

from __future__ import annotations

BURST_SECONDS = 1.0  # of the share may be saved


class CpuAccount:
    """Holds what encoding took against a share of one processor's time.

    Args:
        share: Encode seconds per second; None = no limit.
    """

    def __init__(self, share: float | None) -> None:
        self._share = share
        self._balance = 0.0 if share is None else BURST_SECONDS * share
        self._counted_at: float | None = None  # monotonic seconds; None: it has not begun

    def spend(self, seconds: float) -> None:
        """Take off what a frame took; what ran before the first decision was a warm-up."""
        if self._counted_at is not None:
            self._balance -= seconds

    def advance(self, now: float) -> None:
        """Add what has been earned until now, monotonic seconds."""
        if self._share is not None and self._counted_at is not None:
            earned = self._share * max(0.0, now - self._counted_at)
            self._balance = min(self._balance + earned, BURST_SECONDS * self._share)
        self._counted_at = now

    def covers(self, seconds: float) -> bool:
        """Whether a frame that takes so long may be encoded now."""
        if self._share is None:
            return True
        return seconds <= self._balance or self._balance >= BURST_SECONDS * self._share

    def affordable(self, frame_seconds: float) -> float:
        """Seconds that each frame may take in the long run; more while there is something saved.

        Args:
            frame_seconds: From one frame to the next.
        """
        if self._share is None:
            return float("inf")
        ahead = self._balance - BURST_SECONDS * self._share / 2
        return self._share * frame_seconds + ahead
