"""What a decision needs to know of the link, and what an acknowledgement says of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LinkView:
    """The link right now."""

    in_flight_bytes: int  # sent and not RECEIVED
    oldest_in_flight_seconds: float  # age of the oldest of them; 0 when there is none
    undetected_frames: int  # sent on this stream and not DETECTED
    credit_bytes: int  # the cloud's window
    max_frame_bytes: int
    paused: bool = False  # the cloud's queue was full a moment ago
    oldest_in_flight_bytes: int = 0  # of the oldest of them; 0 = not told

    @property
    def idle(self) -> bool:
        """Nothing is on its way and nothing waits for its result."""
        return self.in_flight_bytes == 0 and self.undetected_frames == 0


NO_LINK = LinkView(0, 0.0, 0, 0, 0)


def has_room(size_bytes: float, in_flight_bytes: int, credit_bytes: int) -> bool:
    """Whether the cloud's window allows these bytes now.

    A container larger than the whole window may go when nothing else is on its way: else a small
    window would stop the stream for good. A window of nothing means: wait.
    """
    fits = in_flight_bytes == 0 or in_flight_bytes + size_bytes <= credit_bytes
    return credit_bytes > 0 and fits


class SentFrame(Protocol):
    """A frame that was sent, as far as its acknowledgement teaches the link's rate."""

    @property
    def size_bytes(self) -> int:
        """Of its container."""

    @property
    def sent_at(self) -> float | None:
        """Monotonic seconds; None: not on this stream."""

    @property
    def behind(self) -> bool:
        """Bytes of another frame were unacknowledged when it was sent."""
