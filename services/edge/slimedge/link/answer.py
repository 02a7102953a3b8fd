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
from slimedge.link.wire import (
    Refetch,
    budget_of,
    detections_of,
    make_acceptance,
    make_refusal,
    max_live_level_of,
    nack_reason_of,
    refetch_of,
    seconds_of,
)
from slimedge.memory.ledger import BackfillState, Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimwire.v1 import ingest_pb2 as pb

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
    ask_refetch: Callable[[Refetch], None]  # must return at once
    clock: Callable[[], float]  # monotonic seconds

    def __post_init__(self) -> None:
        self.replies: deque[pb.StreamFramesRequest] = deque()  # to be sent when there is a turn
        self.drain: pb.Drain | None = None  # the cloud is about to stop

    def begin(self, welcome: pb.Welcome, round_trip_seconds: float) -> None:
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
        self.controller.limit_level(max_live_level_of(welcome))
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

    def take(self, response: pb.StreamFramesResponse) -> LedgerFrame | None:
        """Take one message; a frame that must be sent again, if it says so."""
        match response.WhichOneof("message"):
            case "ack":
                self.ledger.answered_at = self.clock()
                self._take_ack(response.ack)
            case "nack":
                self.ledger.answered_at = self.clock()
                return self._take_nack(response.nack)
            case "credit":
                self.ledger.grant(response.credit.credit_bytes, self.clock())
                self.controller.on_share(response.credit.pixels_per_second)
            case "command":
                self._take_command(response.command)
            case "drain":
                self.drain = response.drain
            case "gap_ack":
                self._take_gap_ack(response.gap_ack)
            case other:
                logger.warning("message passed over", extra={"reason": f"unknown kind {other}"})
        return None

    def _take_ack(self, ack: pb.Ack) -> None:
        if ack.request_id:
            self.ledger.release_enhancement(ack.request_id)
            return
        is_received = ack.stage == pb.STAGE_RECEIVED
        state = BackfillState.RECEIVED if is_received else BackfillState.PERSISTED
        if self.ledger.answer_backfill(ack.epoch, ack.sequence, state) or ack.epoch:
            return
        # A later stage implies the earlier ones, should the cloud leave them out.
        server_time = seconds_of(ack.server_mono_us)
        received = self.ledger.receive(ack.sequence, server_time)
        if received is not None:
            self.controller.on_received(
                self.clock(), received, server_time, ack.received_bytes_total
            )
            self._tell(received, Stage.RECEIVED)
        if ack.stage in (pb.STAGE_PERSISTED, pb.STAGE_DETECTED):
            self.take_persisted(ack.sequence)
        if ack.stage == pb.STAGE_DETECTED:
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

    def _take_result(self, frame: LedgerFrame, ack: pb.Ack) -> None:
        # A frame that waited for its enhancement says nothing of the cloud's queue.
        waited = ack.triage in (pb.TRIAGE_ENHANCED, pb.TRIAGE_FALLBACK)
        if frame.received_at_server is not None and not waited:
            self.controller.on_detected(frame.received_at_server, seconds_of(ack.server_mono_us))
        self._tell(frame, Stage.DETECTED)
        self.observer.notify(
            Detected(
                frame.sequence,
                detections_of(ack),
                self.clock() - frame.header.capture_time_mono,
                seconds_of(ack.queue_us),
                seconds_of(ack.compute_us),
            )
        )

    def _tell(self, frame: LedgerFrame, stage: Stage) -> None:
        now = self.clock()
        sent_at = now if frame.sent_at is None else frame.sent_at
        self.observer.notify(Acked(frame.sequence, stage, now - sent_at))

    def _take_nack(self, nack: pb.Nack) -> LedgerFrame | None:
        if nack.reason == pb.NACK_REASON_QUEUE_FULL:
            wait = nack.retry_after_ms / 1000 or CLOUD_FULL_PAUSE_SECONDS
            self.ledger.pause(self.clock() + wait)
        self.observer.notify(
            Nacked(nack.sequence, nack_reason_of(nack), nack.detail, nack.retryable, nack.epoch)
        )
        if nack.request_id:
            self.ledger.release_enhancement(nack.request_id)
            return None
        state = BackfillState.LATER if nack.retryable else BackfillState.REFUSED
        if self.ledger.answer_backfill(nack.epoch, nack.sequence, state) or nack.epoch:
            return None
        frame = self.ledger.close(nack.sequence)
        if frame is None or frame.persisted:
            return None
        is_damaged = nack.reason == pb.NACK_REASON_CRC
        may_mend = frame.times_sent < MAX_TIMES_SENT if is_damaged else frame.waits
        if nack.retryable and may_mend:
            frame.received = False
            return frame
        if nack.retryable:
            self.spool.keep(frame)
        if frame.spooled is None:
            self.observer.notify(frame.lost(LossReason.REFUSED))
        return None

    def _take_gap_ack(self, answer: pb.GapAck) -> None:
        if answer.gap_number == self.ledger.gap_on_its_way:
            self.ledger.gap_on_its_way = None
        if answer.refused:
            logger.warning("gap not taken", extra={"reason": answer.refused})

    def _take_command(self, command: pb.Command) -> None:
        request_id = command.request_id
        match command.WhichOneof("command"):
            case "refetch_enhancement":
                self.ask_refetch(refetch_of(command, self.clock()))
            case "set_budget":
                try:
                    self.budget.set(budget_of(command.set_budget.byte_budget))
                except ValueError as exc:
                    self.replies.append(make_refusal(request_id, str(exc)))
                else:
                    self.replies.append(make_acceptance(request_id))
            case _:
                logger.warning("command refused", extra={"reason": "this edge does not know it"})
                self.replies.append(make_refusal(request_id, "this camera does not know it"))
