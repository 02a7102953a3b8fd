"""What the cloud says on a stream: into the ledger, then to whoever wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from slimedge.event import LinkState, LossReason
from slimedge.ledger import Ledger, LedgerFrame
from slimedge.wire import seconds_of
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

MAX_TIMES_SENT = 3  # of one frame, when the cloud receives it damaged
CLOUD_FULL_PAUSE_SECONDS = 0.5  # after a Nack because the cloud's queue is full


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


class AnswerReader:
    """Takes the cloud's messages one by one.

    Args:
        ledger: Where frames are acknowledged.
        handler: Who is told.
        clock: Monotonic seconds.
    """

    def __init__(self, ledger: Ledger, handler: UplinkHandler, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._handler = handler
        self._clock = clock
        self.drain_seconds: float | None = None  # set by a Drain: when to come back

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
                self.drain_seconds = response.drain.reconnect_after_ms / 1000
            case other:
                logger.warning("message passed over", extra={"reason": f"unknown kind {other}"})
        return None

    def _take_ack(self, ack: pb.Ack) -> None:
        # A later stage implies the earlier ones, should the cloud leave them out.
        server_time = seconds_of(ack.server_mono_us)
        received = self._ledger.receive(ack.sequence, server_time)
        if received is not None:
            self._handler.on_received(received, server_time, ack.received_bytes_total)
        if ack.stage in (pb.STAGE_PERSISTED, pb.STAGE_DETECTED):
            persisted = self._ledger.persist(ack.sequence)
            if persisted is not None:
                self._handler.on_persisted(persisted)
        if ack.stage == pb.STAGE_DETECTED:
            detected = self._ledger.detect(ack.sequence)
            if detected is not None:
                self._handler.on_detected(detected, ack)

    def _take_nack(self, nack: pb.Nack) -> LedgerFrame | None:
        frame = self._ledger.refuse(nack.sequence)
        if nack.reason == pb.NACK_REASON_QUEUE_FULL:
            self._ledger.pause(self._clock() + CLOUD_FULL_PAUSE_SECONDS)
        self._handler.on_nacked(nack)
        damaged = nack.retryable and nack.reason == pb.NACK_REASON_CRC
        if frame is None or not damaged or frame.times_sent >= MAX_TIMES_SENT:
            return None
        frame.received = False
        return frame

    def _take_command(self, command: pb.Command) -> None:
        if command.WhichOneof("command") == "refetch_enhancement":
            self._handler.on_refetch(command.request_id, command.refetch_enhancement)
        else:
            logger.warning("command passed over", extra={"reason": "this edge does not know it"})
