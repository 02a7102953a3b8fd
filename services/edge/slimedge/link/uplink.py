"""Frames -> the cloud, within its credit, over one stream after another.

    CONNECTING ─ Hello, Welcome ─► UP ─ stream ends, Drain ─► DOWN ─ random wait ─► CONNECTING ...

Every frame waits its turn, then for room under the credit; so what is on its way is bounded by the
cloud's window and not by the transport's buffers. What has no answer for `answer_seconds` ends the
stream: something on the way has lost it, or is frozen; or the link is slower than was thought, so
the next stream is given twice as long, until an answer comes. When a stream ends, the frames that
the cloud has not persisted go to the spool. After a reconnect those that are still in time, or are
not on disk, are sent again, in order and before newer ones; the others are left to the backfill. A
refusal that will not change by itself (another model, say) ends `run` with its error.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import grpc

from slimcontrol.controller import WaitReason
from slimedge.backoff import FullJitter
from slimedge.errors import RefusedError
from slimedge.event import (
    EdgeObserver,
    LinkChanged,
    LinkState,
    LinkTraffic,
    LossReason,
    Sent,
    SkipReason,
)
from slimedge.gap import Gap
from slimedge.link import wire
from slimedge.link.answer import AnswerReader
from slimedge.link.connection import Connection, DisconnectedError, ReplacedError, connect
from slimedge.link.traffic import NO_TRAFFIC, LinkMeter, Traffic
from slimedge.memory.ledger import Ledger, LedgerFrame
from slimedge.memory.spool import SpooledFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.settings import EdgeSettings

logger = logging.getLogger(__name__)

# How often it is looked at what changes without a word: overdue answers, a pause, a budget.
LOOK_SECONDS = 0.25
DRAIN_GRACE_SECONDS = 2.0  # for the answers on their way, if a Drain names none
TRAFFIC_SECONDS = 30.0  # from one telling the cloud what has passed to the next
_MOST_PATIENCE = 32.0  # times `answer_seconds`: 1 MiB at 26 kbit/s


@dataclass(eq=False, kw_only=True)
class Uplink:
    """The edge's end of the wire."""

    settings: EdgeSettings
    hello: Callable[[Sequence[int]], wire.Request]  # of the frames that may be persisted
    ledger: Ledger
    spool: SpoolWorker  # keeps what cannot be sent
    answers: AnswerReader
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds
    meter: LinkMeter = field(default_factory=LinkMeter)
    is_recording: bool = False  # whose frames are for the record: they raise no alert

    def __post_init__(self) -> None:
        self._connection: Connection | None = None
        self._told_traffic = NO_TRAFFIC
        self._traffic_due = 0.0  # monotonic seconds: when the cloud is told next
        self._backlog: deque[LedgerFrame] = deque()  # to be sent again, before any other
        self._is_silent = False  # and it was said in the log
        self._patience = 1.0  # times `answer_seconds` that an answer is waited for
        self._was_welcome = False  # on some stream
        self._was_answered = False  # on the last one
        self._turn = asyncio.Lock()  # writes go out one by one, first come first served
        self._backoff = FullJitter(
            self.settings.reconnect_min_seconds, self.settings.reconnect_max_seconds
        )

    @property
    def is_up(self) -> bool:
        """Whether a stream is open."""
        return self._connection is not None

    @property
    def why_not(self) -> SkipReason | WaitReason | None:
        """Why no frame is worth sending now; None if one may be."""
        return self.answers.why_not if self.is_up else SkipReason.LINK_DOWN

    @property
    def is_busy(self) -> bool:
        """Whether a live frame is being sent or waits to be."""
        return self._turn.locked() or bool(self._backlog)

    async def run(self) -> None:
        """Keep a stream open until cancelled.

        Raises:
            ModelMismatchError: the cloud reads another model.
            RefusedError: the cloud refuses this camera for good.
        """
        try:
            while True:
                self._tell(LinkState.CONNECTING, self.settings.cloud_address)
                try:
                    hello = await self._make_hello()
                    async with connect(self.settings, hello, self._patience) as connection:
                        await self._serve(connection)
                except (DisconnectedError, RefusedError) as exc:
                    if isinstance(exc, RefusedError) and not self._may_mend(exc):
                        raise
                    # An answer, not only a Welcome: the cloud means it. Two edges of one name
                    # throw each other out, ever more rarely.
                    if self._was_answered and not isinstance(exc, ReplacedError):
                        self._backoff.reset()
                    wait = self._next_wait()
                    self._tell(LinkState.DOWN, f"{exc}; again in {wait:.1f} s")
                    logger.warning("uplink down", extra={"reason": str(exc), "seconds": wait})
                    await asyncio.sleep(wait)
        finally:
            self._tell(LinkState.STOPPED, "")

    async def send(self, frame: LedgerFrame) -> None:
        """Send one frame when its turn comes and the credit allows it.

        Returns when it was handed to the transport, or lost (the observer is told why), or kept for
        the next stream because this one has ended.
        """
        try:
            async with self._turn:
                await self._send_backlog()
                await self._send_in_turn(frame)
        except asyncio.CancelledError:
            if not self.ledger.holds(frame.sequence):  # it was not its turn yet
                self._keep(frame)
            raise

    async def send_enhancement(self, request_id: str, sequence: int, container: bytes) -> None:
        """Send an enhancement under the same credit.

        Raises:
            DisconnectedError: the stream has ended; the cloud must ask again.
        """
        async with self._turn:
            connection = await self._wait_for_room(len(container))
            if connection is None:
                raise DisconnectedError("the stream ended before the enhancement was sent")
            self.ledger.send_enhancement(request_id, len(container), self.clock())
            message = wire.make_enhancement(sequence, container, request_id, connection.hello)
            await connection.write(message)

    async def send_kept(self, kept: SpooledFrame) -> None:
        """Send a frame of the spool; the caller has seen that there is room.

        Raises:
            DisconnectedError: the stream has ended.
        """
        epoch = self._epoch_on_wire(kept.epoch)
        self.ledger.send_backfill(epoch, kept.header, len(kept.container), self.clock())
        await self._say(
            lambda hello: wire.make_frame(
                kept.header, kept.container, late=True, epoch=epoch, hello=hello
            )
        )

    async def send_gap(self, gap: Gap) -> None:
        """Send the record of a gap; raises as `send_kept`."""
        epoch = self._epoch_on_wire(gap.epoch)
        await self._say(lambda _: wire.make_gap(gap, epoch))

    async def refuse(self, request_id: str, detail: str) -> None:
        """Tell the cloud that its command cannot be carried out."""
        with suppress(DisconnectedError):
            await self._say(lambda _: wire.make_reply(request_id, detail))

    async def _say(self, make: Callable[[wire.Hello | None], wire.Request]) -> None:
        async with self._turn:
            if self._connection is None:
                raise DisconnectedError("the stream has ended")
            await self._connection.write(make(self._connection.hello))

    def _epoch_on_wire(self, epoch: int) -> int:
        return 0 if epoch == self.spool.epoch else epoch

    async def _make_hello(self) -> wire.Request:
        in_doubt = [frame.sequence for frame in self.ledger.unpersisted]
        kept = await self.spool.sequences(wire.MAX_UNPERSISTED)
        return self.hello(list(dict.fromkeys([*in_doubt, *kept])))

    async def _serve(self, connection: Connection) -> None:
        self.meter.follow(connection.socket)
        self._traffic_due = 0.0
        self.answers.begin(connection.welcome, connection.round_trip_seconds)
        self._resume(connection.welcome)
        self._connection, self._was_welcome, self._was_answered = connection, True, False
        self._tell(LinkState.UP, self.settings.cloud_address)
        self.ledger.may_go.notify_all()
        flush = asyncio.create_task(self._flush())
        try:
            while self.answers.drain is None:
                response, on_its_way = await self._hear(connection), self.ledger.in_flight_bytes
                again = self.answers.take(response)
                if again is not None:
                    self._backlog.append(again)
                self._was_answered = True
                # Only what was sent on this stream tells the link's rate: not a Credit, which the
                # cloud sends unasked, nor a result of an earlier stream's frame.
                if self.ledger.in_flight_bytes < on_its_way:
                    self._patience = 1.0
                self.ledger.may_go.notify_all()
                if (self._backlog or self.answers.replies) and flush.done():
                    flush = asyncio.create_task(self._flush())
            grace_seconds = self.answers.drain.grace_ms / 1000 or DRAIN_GRACE_SECONDS
            await self._hear_the_rest(connection, grace_seconds)
            raise DisconnectedError("the cloud is about to stop")
        finally:
            self._connection = None
            self._tell_traffic()
            self.meter.follow(None)
            self.ledger.disconnect()
            for frame in self.ledger.unpersisted:
                self.spool.keep(frame)
            for frame in self._backlog:
                self._keep(frame)
            self._backlog.clear()
            self.ledger.may_go.notify_all()
            flush.cancel()
            with suppress(asyncio.CancelledError):
                await flush

    async def _hear(self, connection: Connection) -> wire.Response:
        """Wait for the next message, unless what was sent has no answer for too long."""
        reading = asyncio.create_task(connection.read())
        try:
            while True:
                self._tell_traffic()
                self._check_answers()
                done, _ = await asyncio.wait([reading], timeout=LOOK_SECONDS)
                if done:
                    return reading.result()
        finally:
            reading.cancel()

    def _check_answers(self) -> None:
        was_silent, self._is_silent = self._is_silent, self.answers.why_not is SkipReason.LINK_DOWN
        if self._is_silent and not was_silent:
            age = self.ledger.answer_age(self.clock())
            logger.warning("the cloud answers nothing", extra={"seconds": age})
        if self.answers.overdue_seconds > self._patience * self.settings.answer_seconds:
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
            age = self.ledger.answer_age(self.clock())
            last = "none ever came" if age is None else f"the last one came {age:.0f} s ago"
            raise DisconnectedError(f"no answer to what was sent; {last}")

    def _resume(self, welcome: wire.Welcome) -> None:
        """Decide what is sent again as it was meant, before anything newer."""
        now = self.clock()
        if welcome.persisted_sequences:
            self.ledger.answered_at = now
        for sequence in welcome.persisted_sequences:
            self.spool.forget(self.spool.epoch, sequence)
            self.answers.take_persisted(sequence)
        for frame in self.ledger.resume():
            if not (frame.spooled and self._is_late(now - frame.header.capture_time_mono)):
                self._backlog.append(frame)

    async def _hear_the_rest(self, connection: Connection, seconds: float) -> None:
        """Send nothing new, and hear what the cloud says of what was sent."""
        self._connection = None
        self.ledger.may_go.notify_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ledger.is_answered:
                    again = self.answers.take(await connection.read())
                    if again is not None:
                        self._keep(again)
                    self.ledger.may_go.notify_all()

    async def _flush(self) -> None:
        async with self._turn:
            await self._send_backlog()

    async def _send_backlog(self) -> None:
        while self.answers.replies and self._connection is not None:
            with suppress(DisconnectedError):
                await self._connection.write(self.answers.replies.popleft())
        while self._backlog:
            await self._send_in_turn(self._backlog.popleft())

    async def _send_in_turn(self, frame: LedgerFrame) -> None:
        if 0 < self.ledger.max_frame_bytes < frame.size_bytes:
            self.observer.notify(frame.lost(LossReason.TOO_LARGE))
            return
        try:
            while frame.waits and self.is_up and self.ledger.is_paused(self.clock()):
                await self.ledger.may_go.wait(LOOK_SECONDS)
            connection = await self._wait_for_room(frame.size_bytes)
        except asyncio.CancelledError:
            self._keep(frame)
            raise
        if connection is None:
            self._keep(frame)
            return
        now = self.clock()
        age = now - frame.header.capture_time_mono
        expire_seconds = self.settings.expire_seconds
        if 0 < expire_seconds < age:
            self.spool.keep(frame)
            self._lose([frame], LossReason.EXPIRED)
            return
        self._lose(self.ledger.send(frame, now), LossReason.RESEND_FULL)
        # told before it is written: its answer may be read before the writer goes on
        resent, waited = frame.times_sent > 1, now - frame.encoded_at
        self.observer.notify(Sent(frame.sequence, frame.size_bytes, waited, resent))
        late, expire_ms = self._is_late(age), round(1000 * expire_seconds)
        message = wire.make_frame(
            frame.header,
            frame.container,
            expire_ms,
            late=late,
            hello=connection.hello,
            traffic=self._traffic_to_tell(now),
        )
        with suppress(DisconnectedError):  # the ledger has it and gives it to the next stream
            await connection.write(message)

    async def _wait_for_room(self, size_bytes: int) -> Connection | None:
        """Wait until the credit allows so many bytes; the stream, or None once it has ended."""
        connection = self._connection
        while not self.ledger.has_room(size_bytes):
            if connection is None or connection is not self._connection:
                return None
            await self.ledger.may_go.wait()
        return connection if connection is self._connection else None

    def _keep(self, frame: LedgerFrame) -> None:
        self.spool.keep(frame)
        self._lose(self.ledger.keep(frame), LossReason.RESEND_FULL)

    def _lose(self, given_up: Sequence[LedgerFrame], reason: LossReason) -> None:
        for frame in given_up:
            if frame.spooled is None:
                self.observer.notify(frame.lost(reason))

    def _tell_traffic(self) -> None:
        told, self._told_traffic = self._told_traffic, self.meter.read()
        if self._told_traffic != told:
            more = self._told_traffic - told
            self.observer.notify(LinkTraffic(more.sent_bytes, more.received_bytes))

    def _traffic_to_tell(self, now: float) -> Traffic:
        if now < self._traffic_due:
            return NO_TRAFFIC
        self._traffic_due = now + TRAFFIC_SECONDS
        return self.meter.read()

    def _tell(self, state: LinkState, detail: str) -> None:
        self.observer.notify(LinkChanged(state, detail))

    def _is_late(self, age_seconds: float) -> bool:
        return self.is_recording or 0 < self.settings.deadline_seconds < age_seconds

    def _may_mend(self, refusal: RefusedError) -> bool:
        """Whether a refusal may go away: a cloud that knew the method a moment ago read its name
        with a bit that was altered on the way, or a proxy answered in its place.
        """
        return self._was_welcome and refusal.status == grpc.StatusCode.UNIMPLEMENTED.name

    def _next_wait(self) -> float:
        drain, self.answers.drain = self.answers.drain, None
        return self._backoff.next_seconds() + (drain.reconnect_after_ms / 1000 if drain else 0.0)
