"""The link, as a decision sees it: what is on its way, and what acknowledgements have taught.

sent ──► link, one frame after another ──► server ──► ack
          ├─ its pace: gaps between acks on the server's clock, or delay beyond the round trip
          └─ its queue: unacknowledged bytes, less what it has carried since the last ack

Rates spread over orders of magnitude, so they are averaged as logarithms.
"""

import math
from dataclasses import dataclass
from typing import Protocol

# Chosen on recorded 3G, LTE and broadband links, see docs/develop/controller.md.
_RATE_FALL = 0.7  # weight of a sample below the mean
_RATE_RISE = 0.8  # weight of a sample above it: after a hole the link is soon what it was
_RATE_VARIANCE_WEIGHT = 0.15
_PLAN_SAFETY = 0.5  # standard deviations (of the logarithm) below the mean: to fill the link
_LATE_SAFETY = 1.2  # the same: to be in time
_RATE_VARIANCE_FLOOR = 0.015  # a link that was steady for a second may be another in the next
_RATE_VARIANCE_CEILING = 0.25  # one hole must not make the link's later rates look unsure for long
_FIRST_RATE = 62_500.0  # bytes per second (0.5 Mbit/s) until something is known
_FIRST_VARIANCE = 0.25
_MOST_DOUBT = 1.0  # variance after reconnects, however many: a frame must stay sendable
_RATE_LIMITS = (125.0, 1.25e9)  # bytes per second: 1 kbit/s to 10 Gbit/s
_SHORTEST_TRANSFER = 0.001  # seconds; below, the clock's grain and scheduling decide
_JITTER_SECONDS = 0.02  # a delay within this says nothing against the rate

_FIRST_PROBE_SECONDS = 0.5
LONGEST_PROBE_SECONDS = 8.0  # a link that has recovered is found so late at worst


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


def has_room(size_bytes: float, in_flight_bytes: int, credit_bytes: int) -> bool:
    """Whether the cloud's window allows these bytes now.

    A container larger than the whole window may go when nothing else is on its way: else a small
    window would stop the stream for good. A window of nothing means: wait.
    """
    fits = in_flight_bytes == 0 or in_flight_bytes + size_bytes <= credit_bytes
    return credit_bytes > 0 and fits


class SentFrame(Protocol):
    """A frame that was sent, as far as its acknowledgement teaches the link's rate."""

    size_bytes: int  # of its container
    sent_at: float | None  # monotonic seconds; None: not on this stream
    behind: bool  # bytes of another frame were unacknowledged when it was sent


class LinkRate:
    """Bytes per second that the link carries: an asymmetric mean of the logarithm."""

    def __init__(self) -> None:
        self._mean = math.log(_FIRST_RATE)
        self._variance = _FIRST_VARIANCE
        self._is_known = False

    @property
    def mean(self) -> float:
        """Bytes per second, the middle of the belief."""
        return math.exp(self._mean)

    @property
    def safe(self) -> float:
        """Bytes per second to fill the link with."""
        return math.exp(self._mean - _PLAN_SAFETY * self._deviation)

    @property
    def sure(self) -> float:
        """Bytes per second that a promise may rest on: seldom is the link slower."""
        return math.exp(self._mean - _LATE_SAFETY * self._deviation)

    @property
    def _deviation(self) -> float:
        return math.sqrt(self._variance + _RATE_VARIANCE_FLOOR)

    def add_queued(self, size_bytes: int, gap_seconds: float) -> None:
        """Learn from a frame that stood in line behind another: it took exactly the gap."""
        self._learn(size_bytes / max(gap_seconds, _SHORTEST_TRANSFER))

    def add_alone(self, size_bytes: int, excess_seconds: float) -> None:
        """Learn from a frame that found the link idle.

        A delay beyond the round trip that is within jitter says only that the link is at least fast
        enough for that: a small frame's exact rate would be the machine's, and far too high.
        """
        if excess_seconds > _JITTER_SECONDS:
            self._learn(size_bytes / excess_seconds)
        else:
            self.add_bound(size_bytes, _JITTER_SECONDS)

    def add_bound(self, size_bytes: int, delay_seconds: float) -> None:
        """Learn that the link is at least this fast: the delay holds a round trip, too."""
        rate = size_bytes / max(delay_seconds, _SHORTEST_TRANSFER)
        if rate >= self.mean:
            self._learn(rate)

    def doubt(self) -> None:
        """Be less sure, after a reconnect: the path may be another."""
        self._variance = min(max(2 * self._variance, _FIRST_VARIANCE), _MOST_DOUBT)

    def _learn(self, rate: float) -> None:
        low, high = _RATE_LIMITS
        value = math.log(min(high, max(low, rate)))
        if not self._is_known:  # begin here: the first guess knows nothing of this link
            self._mean = value
        distance = value - self._mean
        self._mean += (_RATE_FALL if distance < 0 else _RATE_RISE) * distance
        # Only what falls short of the mean is a risk; a link that grows faster is none.
        shortfall = min(0.0, distance)
        variance = (1 - _RATE_VARIANCE_WEIGHT) * (
            self._variance + _RATE_VARIANCE_WEIGHT * shortfall**2
        )
        self._variance = min(variance, _RATE_VARIANCE_CEILING)
        self._is_known = True


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
    """Rate, round trip and backlog of one link.

    The round trip is the shortest acknowledgement of a stream, its greeting the first. It is never
    forgotten while the stream lasts: on a slow link every later ack waits for a frame's own bytes.
    Within a window of a minute these became the round trip, and the link's rate, which is what goes
    beyond it, was believed twenty times too high.
    """

    def __init__(self) -> None:
        self.rate = LinkRate()
        self._shortest_ack: float | None = None
        self._last_ack: _LastAck | None = None

    @property
    def round_trip(self) -> float:
        """Seconds; 0 until something is known."""
        return self._shortest_ack or 0.0

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
        shortest = self.round_trip
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
        self._shortest_ack = delay if self._shortest_ack is None else min(self._shortest_ack, delay)

    def on_connected(self, round_trip_seconds: float) -> None:
        """A new stream: link and server's clock may be others; Hello to Welcome took so long."""
        self._last_ack = None
        self.rate.doubt()
        self._shortest_ack = round_trip_seconds

    def queue(self, now: float, link: LinkView, rate: float) -> LinkQueue:
        """Give the backlog at a belief about the rate, bytes per second.

        The link has worked on its oldest frame since the one before had passed, that is a round
        trip before its ack came, or since it was sent. If the oldest frame's ack is overdue at this
        rate, the rate is lower, and the frame is expected to take as long again as it is overdue.
        """
        in_flight = link.in_flight_bytes
        if in_flight == 0:
            return LinkQueue(rate, 0.0)
        shortest, worked = self.round_trip, link.oldest_in_flight_seconds
        if self._last_ack is not None:
            worked = max(0.0, min(worked, now - self._last_ack.arrival + shortest))
        oldest = link.oldest_in_flight_bytes or in_flight
        expected = shortest + oldest / rate
        if worked <= expected:
            return LinkQueue(rate, max(0.0, in_flight / rate - worked))
        rate *= expected / worked
        return LinkQueue(rate, worked - expected + (in_flight - oldest) / rate)


class ProbeTimer:
    """When the smallest picture goes though it cannot be in time: to learn of a better link.

    A link of which nothing is asked teaches nothing. So the first probe goes as soon as the link is
    idle, and each that comes late doubles the wait for the next. One in time ends the wait.
    """

    def __init__(self) -> None:
        self._gap = 0.0
        self._due = float("-inf")  # monotonic seconds

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def sent(self, now: float) -> None:
        """A probe goes now."""
        self._gap = min(LONGEST_PROBE_SECONDS, max(_FIRST_PROBE_SECONDS, 2 * self._gap))
        self._due = now + self._gap

    def reset(self) -> None:
        """A frame came in time, or the link is another: the next probe need not wait."""
        self._gap = 0.0
        self._due = float("-inf")
