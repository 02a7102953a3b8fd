"""What the cloud says on a stream: into the ledger, then to whoever wants to know."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slimedge.event import LinkState, LossReason
from slimedge.link.wire import make_acceptance, make_refusal, seconds_of
from slimedge.memory.ledger import BackfillState, Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

MAX_TIMES_SENT = 3  # of one frame, when the cloud receives it damaged
CLOUD_FULL_PAUSE_SECONDS = 0.5  # after a Nack because the cloud's queue is full, if it names none
DRAIN_GRACE_SECONDS = 2.0  # for the answers on their way, if a Drain names none


class UplinkHandler(Protocol):
    """Who is told what comes back; called on the event loop, must return at once."""

    def on_link(self, state: LinkState, detail: str) -> None: ...

    def on_connected(self, round_trip_seconds: float, max_live_level: int | None) -> None: ...

    def on_sent(self, frame: LedgerFrame) -> None: ...

    def on_lost(self, frame: LedgerFrame, reason: LossReason) -> None: ...

    def on_received(
        self, frame: LedgerFrame, server_time: float, received_bytes_total: int
    ) -> None: ...

    def on_persisted(self, frame: LedgerFrame) -> None: ...

    def on_detected(self, frame: LedgerFrame, ack: pb.Ack) -> None: ...

    def on_nacked(self, nack: pb.Nack) -> None: ...

    def on_refetch(self, request_id: str, refetch: pb.RefetchEnhancement) -> None: ...

    def on_budget(self, budget: pb.ByteBudget) -> str:
        """Keep to a budget; why not, for people, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """The server is about to stop."""

    reconnect_seconds: float  # not before so long
    grace_seconds: float  # the stream is cut after this long


class AnswerReader:
    """Takes the cloud's messages one by one.

    Args:
        ledger: Where frames are acknowledged.
        spool: Keeps what the cloud has no room for, and forgets what it has.
        handler: Who is told.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: SpoolWorker,
        handler: UplinkHandler,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._handler = handler
        self._clock = clock
        self.replies: deque[pb.StreamFramesRequest] = deque()  # to be sent when there is a turn
        self.drain: DrainAsked | None = None  # set by a Drain

    def begin(self) -> None:
        """A new stream: what the one before asked for is done."""
        self.drain = None

    def take(self, response: pb.StreamFramesResponse) -> LedgerFrame | None:
        """Take one message; a frame that must be sent again, if it says so."""
        match response.WhichOneof("message"):
            case "ack":
                self._take_ack(response.ack)
            case "nack":
                return self._take_nack(response.nack)
            case "credit":
                self._ledger.credit_bytes = response.credit.credit_bytes
            case "command":
                self._take_command(response.command)
            case "drain":
                self.drain = DrainAsked(
                    response.drain.reconnect_after_ms / 1000,
                    response.drain.grace_ms / 1000 or DRAIN_GRACE_SECONDS,
                )
            case "gap_ack":
                self._take_gap_ack(response.gap_ack)
            case other:
                logger.warning("message passed over", extra={"reason": f"unknown kind {other}"})
        return None

    def _take_ack(self, ack: pb.Ack) -> None:
        if ack.request_id:
            self._ledger.release_enhancement(ack.request_id)
            return
        is_received = ack.stage == pb.STAGE_RECEIVED
        state = BackfillState.RECEIVED if is_received else BackfillState.PERSISTED
        if self._ledger.answer_backfill(ack.epoch, ack.sequence, state) or ack.epoch:
            return
        # A later stage implies the earlier ones, should the cloud leave them out.
        server_time = seconds_of(ack.server_mono_us)
        received = self._ledger.receive(ack.sequence, server_time)
        if received is not None:
            self._handler.on_received(received, server_time, ack.received_bytes_total)
        if ack.stage in (pb.STAGE_PERSISTED, pb.STAGE_DETECTED):
            persisted = self._ledger.persist(ack.sequence)
            if persisted is not None:
                if persisted.spooled is not None:
                    self._spool.forget(self._spool.epoch, ack.sequence)
                self._handler.on_persisted(persisted)
        if ack.stage == pb.STAGE_DETECTED:
            detected = self._ledger.detect(ack.sequence)
            if detected is not None:
                self._handler.on_detected(detected, ack)

    def _take_nack(self, nack: pb.Nack) -> LedgerFrame | None:
        if nack.reason == pb.NACK_REASON_QUEUE_FULL:
            wait = nack.retry_after_ms / 1000 or CLOUD_FULL_PAUSE_SECONDS
            self._ledger.pause(self._clock() + wait)
        self._handler.on_nacked(nack)
        if nack.request_id:
            self._ledger.release_enhancement(nack.request_id)
            return None
        state = BackfillState.LATER if nack.retryable else BackfillState.REFUSED
        if self._ledger.answer_backfill(nack.epoch, nack.sequence, state) or nack.epoch:
            return None
        frame = self._ledger.refuse(nack.sequence)
        if frame is None or frame.persisted:
            return None
        damaged = nack.retryable and nack.reason == pb.NACK_REASON_CRC
        if damaged and frame.times_sent < MAX_TIMES_SENT:
            frame.received = False
            return frame
        if nack.retryable:
            self._spool.keep(frame)
        if frame.spooled is None:
            self._handler.on_lost(frame, LossReason.REFUSED)
        return None

    def _take_gap_ack(self, answer: pb.GapAck) -> None:
        if answer.gap_number == self._ledger.gap_on_its_way:
            self._ledger.gap_on_its_way = None
        if answer.refused:
            logger.warning("gap not taken", extra={"reason": answer.refused})

    def _take_command(self, command: pb.Command) -> None:
        request_id = command.request_id
        match command.WhichOneof("command"):
            case "refetch_enhancement":
                self._handler.on_refetch(request_id, command.refetch_enhancement)
            case "set_budget":
                why_not = self._handler.on_budget(command.set_budget.byte_budget)
                self.replies.append(
                    make_refusal(request_id, why_not) if why_not else make_acceptance(request_id)
                )
            case _:
                logger.warning("command refused", extra={"reason": "this edge does not know it"})
                self.replies.append(make_refusal(request_id, "this camera does not know it"))
