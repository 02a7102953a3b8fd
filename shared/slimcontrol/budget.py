"""What frames may spend beside the link: metered bytes, the processor's and the detector's time.

The byte budget is a second, slower link that nobody waits for; a restart begins with nothing saved.

    bytes saved += rate * time, up to one period's worth;  -= what is sent
    below 0: a backlog, as on a link: beyond a second of it, frames wait
    above 0: what was saved in quiet hours is spent over one period

The encoder's share of the processor is an account of seconds.

    balance += share * time, up to one second's worth;  -= what encoding took

A frame may be encoded while the balance covers what it is expected to take, or is full: else a
frame of more than a second's worth could never go. So over any time the share is kept to within
that second's worth, or one frame, and the error of the last expectation.
"""

from collections.abc import Callable
from dataclasses import dataclass

_USUAL_WEIGHT = 0.2  # of the last frame in what is usual
BURST_SECONDS = 1.0  # of a rate or share may be used ahead: bytes within 1 % over two minutes


@dataclass(frozen=True, slots=True)
class Budget:
    """So many bytes in each period, in the long run."""

    container_bytes: int
    period_seconds: int

    @property
    def bytes_per_second(self) -> float:
        return self.container_bytes / self.period_seconds


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a decision needs to know about the budget right now."""

    bytes_per_second: float  # to plan with
    backlog_seconds: float = 0.0  # sent ahead of the budget, at its rate

    @property
    def is_open(self) -> bool:
        """Whether another frame may go."""
        return self.backlog_seconds < BURST_SECONDS


NO_BUDGET = Allowance(float("inf"))


@dataclass(eq=False)
class BudgetAccount:
    """Holds what was sent against a budget."""

    budget: Budget | None  # to keep to; None = there is none
    sent_bytes: Callable[[], int]  # that count against it, ever
    clock: Callable[[], float]  # monotonic seconds

    def __post_init__(self) -> None:
        self.set(self.budget)

    def set(self, budget: Budget | None) -> None:
        """Keep to another budget from now on, with nothing saved and nothing owed."""
        self.budget = budget
        self._saved_bytes = 0.0
        self._counted_bytes = self.sent_bytes()
        self._counted_at = self.clock()

    def view(self) -> Allowance:
        """Look at the budget now."""
        budget = self.budget
        if budget is None:
            return NO_BUDGET
        now, sent, rate = self.clock(), self.sent_bytes(), budget.bytes_per_second
        gained = rate * (now - self._counted_at) - (sent - self._counted_bytes)
        self._saved_bytes = min(self._saved_bytes + gained, float(budget.container_bytes))
        self._counted_at, self._counted_bytes = now, sent
        saved = max(0.0, self._saved_bytes) / budget.period_seconds
        return Allowance(rate + saved, max(0.0, -self._saved_bytes) / rate)


@dataclass(eq=False)
class CpuAccount:
    """Holds what encoding took against a share of one processor's time."""

    share: float | None  # encode seconds per second; None = no limit

    def __post_init__(self) -> None:
        self._balance = 0.0 if self.share is None else BURST_SECONDS * self.share
        self._counted_at: float | None = None  # monotonic seconds; None: it has not begun

    def spend(self, seconds: float) -> None:
        """Take off what a frame took; what ran before the first decision was a warm-up."""
        if self._counted_at is not None and self.share is not None:
            self._balance -= seconds

    def limit(self, share: float | None) -> None:
        """Keep to another share from now on."""
        if self.share is None and share is not None:
            self._balance = BURST_SECONDS * share
        self.share = share

    def advance(self, now: float) -> None:
        """Add what has been earned until now, monotonic seconds."""
        if self.share is not None and self._counted_at is not None:
            earned = self.share * max(0.0, now - self._counted_at)
            self._balance = min(self._balance + earned, BURST_SECONDS * self.share)
        self._counted_at = now

    def covers(self, seconds: float) -> bool:
        """Whether a frame that takes so long may be encoded now."""
        if self.share is None:
            return True
        return seconds <= self._balance or self._balance >= BURST_SECONDS * self.share

    def affordable(self, frame_seconds: float) -> float:
        """Seconds that each frame may take in the long run; more while there is something saved.

        Args:
            frame_seconds: From one frame to the next.
        """
        if self.share is None:
            return float("inf")
        ahead = self._balance - BURST_SECONDS * self.share / 2
        return self.share * frame_seconds + ahead


class DetectorShare:
    """The pace that the cloud grants this camera of its detector while results are late.

    Cameras whose frames come at the same moment wait for each other, and would again a period
    later. So a frame that took longer than usual puts off the next one by as much, and one that
    took less brings it forward: they come one after another, and none of them waits.
    """

    def __init__(self) -> None:
        self.pixels_per_second = 0  # of pictures; 0 = as many as are sent
        self._due = float("-inf")  # monotonic seconds of the next frame
        self._usual: float | None = None  # seconds that a frame takes in the cloud

    def frame_seconds(self, pixels: int) -> float:
        """From one frame of so many pixels to the next; 0 where nothing is granted."""
        return pixels / self.pixels_per_second if self.pixels_per_second else 0.0

    def is_due(self, now: float) -> bool:
        """Whether the next frame may go."""
        return not self.pixels_per_second or now >= self._due

    def sent(self, now: float, pixels: int) -> None:
        """A frame goes now; one that could not go when it was due makes up for half a period."""
        seconds = self.frame_seconds(pixels)
        self._due = max(self._due + seconds, now + seconds / 2)

    def detected(self, seconds: float) -> None:
        """A frame took so long in the cloud."""
        longer = 0.0 if self._usual is None else seconds - self._usual
        self._usual = seconds - (1 - _USUAL_WEIGHT) * longer
        self._due += min(longer, self._usual)  # whatever held one frame up, the next one goes
