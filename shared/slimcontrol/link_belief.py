"""What acknowledgements teach about the link, and how long what is on its way will keep it busy.

sent ──► link, one frame after another ──► server ──► ack
          ├─ its pace: gaps between acks on the server's clock, or delay beyond the round trip
          └─ its queue: unacknowledged bytes, less what it has carried since the last ack
"""

from __future__ import annotations

from dataclasses import dataclass

from slimcontrol.estimate import LinkRate, RoundTrip
from slimcontrol.link import LinkView, SentFrame


@dataclass(frozen=True, slots=True)
class LinkQueue:
    """The link as a queue, at one belief about its rate."""

    rate: float  # bytes per second
    seconds: float  # until what is on its way has left it


@dataclass(frozen=True, slots=True)
class _LastAck:
    arrival: float  # here, monotonic seconds
    server_time: float  # seconds
    bytes_total: int


class LinkBelief:
    """Rate, round trip and backlog of one link."""

    def __init__(self) -> None:
        self.rate = LinkRate()
        self.round_trip = RoundTrip()
        self._last_ack: _LastAck | None = None

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn the link's rate from an acknowledgement that has just arrived.

        Args:
            now: Monotonic clock of this machine, seconds.
            frame: What was acknowledged.
            server_time: Monotonic clock of the server when it had the frame, seconds.
            received_bytes_total: Container bytes that the server had by then.
        """
        if frame.sent_at is None:
            return
        delay = now - frame.sent_at
        shortest = self.round_trip.minimum
        last, self._last_ack = self._last_ack, _LastAck(now, server_time, received_bytes_total)
        # Sent more than a round trip before the last ack came: the frame before it had not yet
        # passed the link, so this one stood behind it and the server saw the link's own pace.
        if frame.behind and last is not None and last.arrival - frame.sent_at > shortest:
            self.rate.add_queued(
                received_bytes_total - last.bytes_total, server_time - last.server_time
            )
        elif delay > shortest > 0:
            self.rate.add_alone(frame.size_bytes, delay - shortest)
        else:
            self.rate.add_bound(frame.size_bytes, delay)
        self.round_trip.add(delay)

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """A new stream: the link may be another, and so may the server's clock.

        Args:
            now: Monotonic clock of this machine, seconds.
            round_trip_seconds: From Hello to Welcome; the link's own is at most that.
        """
        self._last_ack = None
        self.rate.doubt()
        self.round_trip = RoundTrip()
        self.round_trip.add(round_trip_seconds)

    def queue(self, now: float, link: LinkView, rate: float) -> LinkQueue:
        """Give the backlog at a belief about the rate, bytes per second.

        The link has worked on its oldest frame since the one before had passed, that is a round
        trip before its ack came, or since it was sent. If the oldest frame's ack is overdue at this
        rate, the rate is lower, and the frame is expected to take as long again as it is overdue.
        """
        in_flight = link.in_flight_bytes
        if in_flight == 0:
            return LinkQueue(rate, 0.0)
        shortest, worked = self.round_trip.minimum, link.oldest_in_flight_seconds
        if self._last_ack is not None:
            worked = max(0.0, min(worked, now - self._last_ack.arrival + shortest))
        oldest = link.oldest_in_flight_bytes or in_flight
        expected = shortest + oldest / rate
        if worked <= expected:
            return LinkQueue(rate, max(0.0, in_flight / rate - worked))
        rate *= expected / worked
        return LinkQueue(rate, worked - expected + (in_flight - oldest) / rate)
