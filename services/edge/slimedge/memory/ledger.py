"""The exact account of what was sent and how far the cloud has taken it.

    send -> [unreceived: its bytes count against the credit] -> RECEIVED -> PERSISTED -> DETECTED
                                                                  container kept until PERSISTED,
                                                                  to be sent again after a reconnect

Facts only: what they say about the link is the controller's business. Not thread-safe.

The parts of an edge wait for each other at `Ledger.may_go`: a frame may go which could not before.

    Pipeline.deliver, .end   a newer frame, or none will come ──┐
    Uplink                   a stream is up, drains, has ended ─┼─► notify_all
    Uplink                   an answer: credit, Ack, Nack, ... ─┘        │
                                                                         ▼
    Pipeline    waits for a frame, for a decision to send it, at the end for the last results
    Uplink      waits for room in the cloud's window
    Backfill    waits for a stream, for room, for the answer to what it sent
    Refetcher   waits for the next stream, after one has ended

Whoever is woken looks at everything again: it says that something has happened, not what.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from slimcontrol.link import LinkView, has_room
from slimedge.event import LossReason, Lost
from slimedge.frame import FrameHeader
from slimedge.memory.persisted import PersistedFrames

RESEND_FRAMES = 64  # unpersisted frames kept for a reconnect; the oldest are given up first


@dataclass(slots=True)
class LedgerFrame:
    """One encoded frame on its way; the mutable fields belong to the ledger."""

    header: FrameHeader
    container: bytes  # emptied when PERSISTED
    encoded_at: float  # monotonic seconds
    size_bytes: int = 0
    sent_at: float | None = None  # monotonic seconds of the last time it was sent
    awaited_since: float = 0.0  # the next answer, see `Ledger.unanswered_seconds`
    behind: bool = False  # bytes of another frame were unacknowledged when it was sent
    received_at_server: float | None = None  # server's monotonic clock, seconds
    received: bool = False
    persisted: bool = False
    times_sent: int = 0
    spooled: bool | None = None  # on disk too; False = on its way there
    waits: bool = False  # see `CapturedFrame`

    def __post_init__(self) -> None:
        self.size_bytes = len(self.container)

    @property
    def sequence(self) -> int:
        """Its name within this start of the edge."""
        return self.header.sequence

    def lost(self, reason: LossReason) -> Lost:
        """The event that it will never be detected."""
        return Lost(self.sequence, reason, self.header.capture_time_unix, self.size_bytes)


class BackfillState(StrEnum):
    """How far the one frame of the backfill lane is that is on its way."""

    SENT = "sent"
    RECEIVED = "received"
    PERSISTED = "persisted"
    REFUSED = "refused"  # for good
    LATER = "later"  # the cloud has no room for it now
    BROKEN = "broken"  # the stream ended first


UNANSWERED = (BackfillState.SENT, BackfillState.RECEIVED)


@dataclass(slots=True)
class BackfillOnItsWay:
    """A kept frame that was sent; one at a time, so that live frames wait for one at most."""

    epoch: int  # as on the wire: 0 = of this start
    header: FrameHeader
    size_bytes: int
    sent_at: float  # monotonic seconds
    awaited_since: float  # as of a live frame
    state: BackfillState = BackfillState.SENT


@dataclass(slots=True)
class _EnhancementOnItsWay:
    size_bytes: int
    sent_at: float  # monotonic seconds
    awaited_since: float  # as of a live frame


class Condition:
    """As `asyncio.Condition` without its lock, for one event loop.

    Nothing is missed between looking and waiting, because nothing else runs between the two.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify_all(self) -> None:
        """Wake all that wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next `notify_all`, but no longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


class Ledger:
    """Frames by sequence from being sent until they are DETECTED, refused or given up."""

    def __init__(self) -> None:
        self._frames: dict[int, LedgerFrame] = {}
        self.may_go = Condition()
        self.backfill: BackfillOnItsWay | None = None
        self.persisted = PersistedFrames()
        self.gap_on_its_way: int | None = None  # number of the gap that is not answered yet
        self.sent_bytes = 0  # of containers, ever, repeats too
        self.earlier_sequence = 0  # of this epoch, up to which another start may have sent frames
        self._enhancements: dict[str, _EnhancementOnItsWay] = {}  # by request
        self.answered_at = 0.0  # monotonic seconds of the last Ack, Nack or list in Welcome
        self.result_at = 0.0  # the same, of the last result
        self.credit_bytes = 0
        self._closed_at: float | None = None  # monotonic seconds: no credit since then
        self.max_frame_bytes = 0
        self.max_pixels = 0  # of a picture that the cloud takes; 0: it has not said
        self.max_reference_depth = 0  # that the cloud takes; 0: each frame must decode alone
        self._paused_until = 0.0  # monotonic seconds

    @property
    def in_flight_bytes(self) -> int:
        """Container bytes that were sent and not yet acknowledged as RECEIVED."""
        frames = sum(f.size_bytes for f in self._in_flight())
        backfill = self.backfill
        late = backfill.size_bytes if backfill and backfill.state is BackfillState.SENT else 0
        return frames + late + sum(e.size_bytes for e in self._enhancements.values())

    def has_room(self, size_bytes: int) -> bool:
        """Whether the credit allows these bytes now."""
        return has_room(size_bytes, self.in_flight_bytes, self.credit_bytes)

    def grant(self, credit_bytes: int, now: float) -> None:
        """Take a new window of the cloud at monotonic time `now`."""
        self.credit_bytes = credit_bytes
        self._closed_at = None if credit_bytes else self._closed_at or now

    def closed_seconds(self, now: float) -> float:
        """For how long the cloud's window has been closed."""
        return 0.0 if self._closed_at is None else now - self._closed_at

    def unanswered_seconds(self, now: float) -> float:
        """How long the answer has been awaited that is longest in coming.

        What was sent waits first for the line, so its time begins anew when anything arrives that
        was sent before it, and when it is RECEIVED itself; it ends when it is PERSISTED or refused.
        """
        return now - self._awaited_since(now)

    def silent_seconds(self, now: float) -> float:
        """For how long nothing has been answered while something was on its way."""
        return now - max(self.answered_at, self._awaited_since(now))

    def undetected_seconds(self, now: float) -> float:
        """For how long no result has come while frames of this stream waited for theirs."""
        since = [f.awaited_since for f in self._frames.values() if f.sent_at and f.persisted]
        return now - max(self.result_at, min(since, default=now))

    def answer_age(self, now: float) -> float | None:
        """Seconds since the last Ack or Nack on any stream; None before the first."""
        return now - self.answered_at if self.answered_at else None

    def view(self, now: float) -> LinkView:
        """Give the state of the link at monotonic time `now`."""
        sent = [(f.sent_at, f.size_bytes) for f in self._in_flight() if f.sent_at is not None]
        oldest_at, oldest_bytes = min(sent, default=(now, 0))
        # Results of an earlier stream may be long in coming (a worker died with them) or never
        # come: they are no queue before the next frame. Counted as one they stopped a camera for
        # the 30 s until they were overdue.
        undetected = sum(f.sent_at is not None for f in self._frames.values())
        return LinkView(
            in_flight_bytes=self.in_flight_bytes,
            oldest_in_flight_seconds=max(0.0, now - oldest_at),
            undetected_frames=undetected,
            credit_bytes=self.credit_bytes,
            max_frame_bytes=self.max_frame_bytes,
            paused=self.is_paused(now),
            oldest_in_flight_bytes=oldest_bytes,
        )

    def pause(self, until: float) -> None:
        """Let no new frame go before a monotonic time, nor one again that waits."""
        self._paused_until = max(self._paused_until, until)

    def is_paused(self, now: float) -> bool:
        """Whether no frame may go yet, as the cloud has asked."""
        return now < self._paused_until

    def send(self, frame: LedgerFrame, now: float) -> list[LedgerFrame]:
        """Enter a frame that is being sent; the unpersisted frames given up to keep this one."""
        frame.behind = self.in_flight_bytes > 0
        frame.sent_at = frame.awaited_since = now
        frame.times_sent += 1
        self.sent_bytes += frame.size_bytes
        return self.keep(frame)

    def keep(self, frame: LedgerFrame) -> list[LedgerFrame]:
        """Enter a frame that cannot be sent now; `resume` will give it back. Else as `send`."""
        self._frames[frame.sequence] = frame
        unpersisted = [f for f in self._frames.values() if not f.persisted]
        surplus = unpersisted[: max(0, len(unpersisted) - RESEND_FRAMES)]
        for old in surplus:
            del self._frames[old.sequence]
        return surplus

    def send_backfill(self, epoch: int, header: FrameHeader, size_bytes: int, now: float) -> None:
        """Enter a kept frame that is being sent; none is on its way."""
        self.sent_bytes += size_bytes
        self.backfill = BackfillOnItsWay(epoch, header, size_bytes, now, now)

    def answer_backfill(self, epoch: int, sequence: int, state: BackfillState) -> bool:
        """Take what the cloud says of a kept frame; whether it is the one on its way."""
        backfill = self.backfill
        if backfill is None or (backfill.epoch, backfill.header.sequence) != (epoch, sequence):
            return False
        if state is BackfillState.PERSISTED and backfill.state is not state:
            self.persisted.add(epoch, backfill.header, backfill.size_bytes)
        self._move_up(backfill.sent_at)
        backfill.state = state
        return True

    def receive(self, sequence: int, server_time: float) -> LedgerFrame | None:
        """Release the bytes of a frame; the frame, or None if it was released before."""
        frame = self._frames.get(sequence)
        if frame is None or frame.received:
            return None
        frame.received = True
        frame.received_at_server = server_time
        self._move_up(frame.sent_at)
        return frame

    def persist(self, sequence: int) -> LedgerFrame | None:
        """The cloud keeps the frame now; it need not be sent again."""
        frame = self._frames.get(sequence)
        if frame is None or frame.persisted:
            return None
        frame.received = frame.persisted = True
        frame.awaited_since = self.answered_at
        frame.container = b""
        self.persisted.add(0, frame.header, frame.size_bytes)
        return frame

    def close(self, sequence: int) -> LedgerFrame | None:
        """Strike off a frame whose result is here, or that the cloud refused."""
        frame = self._frames.pop(sequence, None)
        if frame is not None and not frame.received:
            self._move_up(frame.sent_at)
        return frame

    def send_enhancement(self, request_id: str, size_bytes: int, now: float) -> None:
        """Enter the bytes of an enhancement that is being sent."""
        self.sent_bytes += size_bytes
        self._enhancements[request_id] = _EnhancementOnItsWay(size_bytes, now, now)

    def release_enhancement(self, request_id: str) -> None:
        """The cloud has, or has refused, the enhancement that a request asked for."""
        enhancement = self._enhancements.pop(request_id, None)
        if enhancement is not None:
            self._move_up(enhancement.sent_at)

    def disconnect(self) -> None:
        """The stream has ended: nothing is on its way any more, whatever was written."""
        self._enhancements.clear()
        if self.backfill is not None:
            self.backfill.state = BackfillState.BROKEN
        for frame in self._frames.values():
            frame.sent_at = None

    @property
    def is_answered(self) -> bool:
        """Whether the cloud has, or has refused, everything that was sent on this stream."""
        answered = all(f.persisted or f.sent_at is None for f in self._frames.values())
        return answered and not self._enhancements

    @property
    def unpersisted(self) -> list[LedgerFrame]:
        """Frames that the cloud may not have, in order."""
        frames = (f for f in self._frames.values() if not f.persisted)
        return sorted(frames, key=lambda frame: frame.sequence)

    def resume(self) -> list[LedgerFrame]:
        """A new stream: give the frames to send again, in order.

        They leave the ledger and enter it again when they are sent.
        """
        for frame in self._frames.values():
            if frame.persisted:
                frame.received_at_server = None  # its clock may have been another server's
        again = self.unpersisted
        for frame in again:
            del self._frames[frame.sequence]
            frame.received = False
            frame.received_at_server = None
        return again

    def take_dependents(self) -> list[LedgerFrame]:
        """Strike off what is not PERSISTED and needs another frame: the cloud has lost that."""
        needing = [frame for frame in self.unpersisted if frame.header.reference_sequence]
        for frame in needing:
            del self._frames[frame.sequence]
        return needing

    def holds(self, sequence: int) -> bool:
        """Whether a frame is on its way or waits for its result."""
        return sequence in self._frames

    def forget(self, awaited_before: float) -> list[LedgerFrame]:
        """Close frames that the cloud had before a monotonic time: their result is overdue."""
        overdue = [
            f for f in self._frames.values() if f.received and f.awaited_since < awaited_before
        ]
        for frame in overdue:
            del self._frames[frame.sequence]
        return overdue

    @property
    def undetected_frames(self) -> int:
        """Frames that were sent, or shall be again, and have no result yet."""
        return len(self._frames)

    def _awaited_since(self, now: float) -> float:
        return min((waiting.awaited_since for waiting in self._unpersisted()), default=now)

    def _move_up(self, sent_at: float | None) -> None:
        """What was sent then is answered: it, and what stood behind it on the line, go on."""
        for waiting in self._unpersisted():
            if sent_at is not None and (waiting.sent_at or 0.0) >= sent_at:
                waiting.awaited_since = self.answered_at

    def _unpersisted(self) -> Iterator[LedgerFrame | BackfillOnItsWay | _EnhancementOnItsWay]:
        """What was sent on this stream and is neither PERSISTED nor refused."""
        yield from (f for f in self._frames.values() if f.sent_at and not f.persisted)
        yield from self._enhancements.values()
        if self.backfill is not None and self.backfill.state in UNANSWERED:
            yield self.backfill

    def _in_flight(self) -> list[LedgerFrame]:
        return [f for f in self._frames.values() if f.sent_at is not None and not f.received]
