"""What the edge knows of the frames that it sent, as its ledger keeps it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from slimcontrol.link import LinkView, has_room
from studies.controller.simulation.world import World


@dataclass(slots=True)
class SimulatedFrame:
    """One frame on its way."""

    index: int  # of the picture
    size_bytes: int
    sent_at: float | None = None  # seconds
    behind: bool = False  # bytes of another frame were unacknowledged when it was sent
    received_at: float = 0.0  # there, seconds


class Account:
    """Bytes and frames on their way; RECEIVED comes in the order of sending."""

    def __init__(self, world: World) -> None:
        self._credit_bytes = world.credit_bytes
        self._max_frame_bytes = world.max_frame_bytes
        self._in_flight: deque[SimulatedFrame] = deque()
        self.in_flight_bytes = 0
        self.undetected_frames = 0
        self.sent_bytes = 0

    def has_room(self, size_bytes: int) -> bool:
        """Whether the credit allows these bytes now."""
        return has_room(size_bytes, self.in_flight_bytes, self._credit_bytes)

    def view(self, now: float) -> LinkView:
        """Give the state of the link."""
        oldest = self._in_flight[0] if self._in_flight else None
        return LinkView(
            self.in_flight_bytes,
            0.0 if oldest is None or oldest.sent_at is None else now - oldest.sent_at,
            self.undetected_frames,
            self._credit_bytes,
            self._max_frame_bytes,
            oldest_in_flight_bytes=0 if oldest is None else oldest.size_bytes,
        )

    def send(self, frame: SimulatedFrame, now: float) -> None:
        """Enter a frame that is being sent."""
        frame.behind = self.in_flight_bytes > 0
        frame.sent_at = now
        self._in_flight.append(frame)
        self.in_flight_bytes += frame.size_bytes
        self.sent_bytes += frame.size_bytes
        self.undetected_frames += 1

    def receive(self) -> SimulatedFrame:
        """Release the bytes of the oldest frame on its way."""
        frame = self._in_flight.popleft()
        self.in_flight_bytes -= frame.size_bytes
        return frame

    def close(self) -> None:
        """A frame has its result, or was refused."""
        self.undetected_frames -= 1
