"""What the cloud says on a stream: into the ledger, then told to the controller, which learns the
link and the cloud, to the spool, and as events to whoever watches.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller, WaitReason
from slimedge.event import Acked, Detected, EdgeObserver, LossReason, Nacked, SkipReason, Stage
from slimedge.link import wire
from slimedge.memory.ledger import BackfillState, Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker

logger = logging.getLogger(__name__)

MAX_TIMES_SENT = 3  # of one frame, when the cloud receives it damaged
# Of silence beyond what the link takes for the bytes on their way, until pictures are kept rather
# than sent. On a link of 64 kbit/s and 200 ms at most 0.4 s were measured.
SILENT_SECONDS = 1.0
# Beyond so many times what is usual between two results, until the detector counts as stuck: one
# that has much to do is slow, which is no gap.
_STUCK_SECONDS = 3.0
_RESULTS = 4
CLOUD_FULL_PAUSE_SECONDS = 0.5  # after a Nack because the cloud's queue is full, if it names none


@dataclass(eq=False, kw_only=True)
class AnswerReader:
    """Takes the cloud's messages one by one."""

    ledger: Ledger
    spool: SpoolWorker
    controller: Controller
    budget: BudgetAccount  # set by a command
    observer: EdgeObserver
    ask_refetch: Callable[[wire.Refetch], None]  # must return at once
    clock: Callable[[], float]  # monotonic seconds

    def __post_init__(self) -> None:
        self.replies: deque[wire.Request] = deque()  # to be sent when there is a turn
        self.drain: wire.Drain | None = None  # the cloud is about to stop

    def begin(self, welcome: wire.Welcome, round_trip_seconds: float) -> None:
        """A new stream, of a link that may be another, into a store that may be."""
        lost = self.ledger.persisted.enter(welcome.store_id)
        for gap in lost:
            logger.warning("the cloud has another store: %d frames are lost", gap.frames)
            self.spool.record(replace(gap, epoch=gap.epoch or self.spool.epoch))
        if lost:
            self.spool.lose_dependents()
            for frame in self.ledger.take_dependents():
                if frame.spooled is None:
                    self.observer.notify(frame.lost(LossReason.STORE_LOST))
        if not self.ledger.sent_bytes:
            self.ledger.earlier_sequence = welcome.resume_after_sequence
        self.ledger.grant(welcome.credit_bytes, self.clock())
        self.ledger.max_frame_bytes = welcome.max_frame_bytes
        self.ledger.max_pixels = welcome.max_pixels
        self.ledger.max_reference_depth = welcome.max_reference_depth
        self.controller.limit_level(wire.max_live_level_of(welcome))
        self.controller.on_connected(self.clock(), round_trip_seconds)

    @property
    def overdue_seconds(self) -> float:
        """How long an answer has been awaited, beyond what the link takes for all bytes."""
        return self.ledger.unanswered_seconds(self.clock()) - self._link_seconds

    @property
    def why_not(self) -> SkipReason | WaitReason | None:
        """Why no frame is worth sending on this stream now; None if one may be."""
        now = self.clock()
        if self.ledger.silent_seconds(now) - self._link_seconds > SILENT_SECONDS:
            return SkipReason.LINK_DOWN
        if self.ledger.closed_seconds(now) > SILENT_SECONDS:
            return WaitReason.CLOUD_FULL
        return None

    @property
    def why_undetected(self) -> WaitReason | None:
        """Why frames that cannot be in time are to be kept: the cloud takes them, but detects none
        for much longer than it usually does; None where it does.
        """
        usual_seconds = _STUCK_SECONDS + _RESULTS * self.controller.service.seconds
        is_stuck = self.ledger.undetected_seconds(self.clock()) > usual_seconds
        return WaitReason.CLOUD_FULL if is_stuck else None

    @property
    def _link_seconds(self) -> float:
        return self.ledger.in_flight_bytes / self.controller.rate.safe

    def take(self, response: wire.Response) -> LedgerFrame | None:
        """Take one message; a frame that must be sent again, if it says so."""
        match wire.message_of(response):
            case wire.Ack() as ack:
                self.ledger.answered_at = self.clock()
                self._take_ack(ack)
            case wire.Nack() as nack:
                self.ledger.answered_at = self.clock()
                return self._take_nack(nack)
            case wire.Credit() as credit:
                self.ledger.grant(credit.credit_bytes, self.clock())
                self.controller.on_share(credit.pixels_per_second)
            case wire.Command() as command:
                self._take_command(command)
            case wire.Drain() as drain:
                self.drain = drain
            case wire.GapAck() as answer:
                self._take_gap_ack(answer)
            case _:
                logger.warning("message passed over", extra={"reason": "unknown kind"})
        return None

    def _take_ack(self, ack: wire.Ack) -> None:
        if ack.request_id:
            self.ledger.release_enhancement(ack.request_id)
            return
        stage = wire.stage_of(ack)
        is_received = stage is Stage.RECEIVED
        state = BackfillState.RECEIVED if is_received else BackfillState.PERSISTED
        if self.ledger.answer_backfill(ack.epoch, ack.sequence, state) or ack.epoch:
            return
        # A later stage implies the earlier ones, should the cloud leave them out.
        server_time = ack.server_mono_us / 1e6
        received = self.ledger.receive(ack.sequence, server_time)
        if received is not None:
            self.controller.on_received(
                self.clock(), received, server_time, ack.received_bytes_total
            )
            self._tell(received, Stage.RECEIVED)
        if not is_received:
            self.take_persisted(ack.sequence)
        if stage is Stage.DETECTED:
            self.ledger.result_at = self.clock()
            detected = self.ledger.close(ack.sequence)
            if detected is not None:
                self._take_result(detected, ack)

    def take_persisted(self, sequence: int) -> None:
        """The cloud keeps a frame of this start."""
        persisted = self.ledger.persist(sequence)
        if persisted is not None:
            if persisted.spooled is not None:
                self.spool.forget(self.spool.epoch, sequence)
            self._tell(persisted, Stage.PERSISTED)

    def _take_result(self, frame: LedgerFrame, ack: wire.Ack) -> None:
        # A frame that waited for its enhancement says nothing of the cloud's queue.
        if frame.received_at_server is not None and not wire.waited_for_enhancement(ack):
            self.controller.on_detected(frame.received_at_server, ack.server_mono_us / 1e6)
        self._tell(frame, Stage.DETECTED)
        self.observer.notify(
            Detected(
                frame.sequence,
                wire.detections_of(ack),
                self.clock() - frame.header.capture_time_mono,
                ack.queue_us / 1e6,
                ack.compute_us / 1e6,
            )
        )

    def _tell(self, frame: LedgerFrame, stage: Stage) -> None:
        now = self.clock()
        sent_at = now if frame.sent_at is None else frame.sent_at
        self.observer.notify(Acked(frame.sequence, stage, now - sent_at))

    def _take_nack(self, nack: wire.Nack) -> LedgerFrame | None:
        reason = wire.nack_reason_of(nack)
        if reason == "queue_full":
            wait = nack.retry_after_ms / 1000 or CLOUD_FULL_PAUSE_SECONDS
            self.ledger.pause(self.clock() + wait)
        self.observer.notify(Nacked(nack.sequence, reason, nack.detail, nack.retryable, nack.epoch))
        if nack.request_id:
            self.ledger.release_enhancement(nack.request_id)
            return None
        state = BackfillState.LATER if nack.retryable else BackfillState.REFUSED
        if self.ledger.answer_backfill(nack.epoch, nack.sequence, state) or nack.epoch:
            return None
        frame = self.ledger.close(nack.sequence)
        if frame is None or frame.persisted:
            return None
        may_mend = frame.times_sent < MAX_TIMES_SENT if reason == "crc" else frame.waits
        if nack.retryable and may_mend:
            frame.received = False
            return frame
        if nack.retryable:
            self.spool.keep(frame)
        if frame.spooled is None:
            self.observer.notify(frame.lost(LossReason.REFUSED))
        return None

    def _take_gap_ack(self, answer: wire.GapAck) -> None:
        if answer.gap_number == self.ledger.gap_on_its_way:
            self.ledger.gap_on_its_way = None
        if answer.refused:
            logger.warning("gap not taken", extra={"reason": answer.refused})

    def _take_command(self, command: wire.Command) -> None:
        why_not = ""
        try:
            asked = wire.asked_by(command, self.clock())
        except ValueError as exc:
            why_not = str(exc)
            logger.warning("command refused", extra={"reason": why_not})
        else:
            if isinstance(asked, wire.Refetch):
                self.ask_refetch(asked)
                return
            self.budget.set(asked)
        self.replies.append(wire.make_reply(command.request_id, why_not))
