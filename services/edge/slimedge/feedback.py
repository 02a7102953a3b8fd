"""What comes back from the cloud, told to the controller (beliefs) and the observer (events)."""

from __future__ import annotations

from collections.abc import Callable

from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller
from slimedge.event import (
    Acked,
    Detected,
    EdgeObserver,
    LinkChanged,
    LinkState,
    LossReason,
    Lost,
    Nacked,
    Sent,
    Stage,
)
from slimedge.link.refetch import Refetch
from slimedge.link.wire import budget_of, detections_of, nack_reason_of, seconds_of
from slimedge.memory.ledger import LedgerFrame
from slimwire.v1 import ingest_pb2 as pb


class Feedback:
    """The uplink's handler.

    Args:
        controller: Learns rates and times.
        observer: Is told events.
        budget: Is set by a command.
        ask_refetch: Takes what a command asks for; must return at once.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        controller: Controller,
        observer: EdgeObserver,
        budget: BudgetAccount,
        ask_refetch: Callable[[Refetch], None],
        clock: Callable[[], float],
    ) -> None:
        self._controller = controller
        self._observer = observer
        self._budget = budget
        self._ask_refetch = ask_refetch
        self._clock = clock

    def on_link(self, state: LinkState, detail: str) -> None:
        self._observer.notify(LinkChanged(state, detail))

    def on_connected(self, round_trip_seconds: float, max_live_level: int | None) -> None:
        self._controller.limit_level(max_live_level)
        self._controller.on_connected(self._clock(), round_trip_seconds)

    def on_sent(self, frame: LedgerFrame) -> None:
        resent = frame.times_sent > 1
        waited = (frame.sent_at or self._clock()) - frame.encoded_at
        self._observer.notify(Sent(frame.sequence, frame.size_bytes, waited, resent))

    def on_lost(self, frame: LedgerFrame, reason: LossReason) -> None:
        self._observer.notify(
            Lost(frame.sequence, reason, frame.header.capture_time_unix, frame.size_bytes)
        )

    def on_received(
        self, frame: LedgerFrame, server_time: float, received_bytes_total: int
    ) -> None:
        self._controller.on_received(self._clock(), frame, server_time, received_bytes_total)
        self._tell_stage(frame, Stage.RECEIVED)

    def on_persisted(self, frame: LedgerFrame) -> None:
        self._tell_stage(frame, Stage.PERSISTED)

    def on_detected(self, frame: LedgerFrame, ack: pb.Ack) -> None:
        # A frame that waited for its enhancement says nothing of the cloud's queue.
        waited = ack.triage in (pb.TRIAGE_ENHANCED, pb.TRIAGE_FALLBACK)
        if frame.received_at_server is not None and not waited:
            detected_at_server = seconds_of(ack.server_mono_us)
            self._controller.on_detected(frame.received_at_server, detected_at_server)
        self._tell_stage(frame, Stage.DETECTED)
        self._observer.notify(
            Detected(
                frame.sequence,
                detections_of(ack),
                self._clock() - frame.header.capture_time_mono,
                seconds_of(ack.queue_us),
                seconds_of(ack.compute_us),
            )
        )

    def on_nacked(self, nack: pb.Nack) -> None:
        self._observer.notify(
            Nacked(nack.sequence, nack_reason_of(nack), nack.detail, nack.retryable)
        )

    def on_refetch(self, request_id: str, refetch: pb.RefetchEnhancement) -> None:
        expires = None
        if refetch.expire_ms:
            expires = self._clock() + refetch.expire_ms / 1000
        level = refetch.level or None
        self._ask_refetch(Refetch(request_id, refetch.sequence, level, expires))

    def on_budget(self, budget: pb.ByteBudget) -> str:
        try:
            self._budget.set(budget_of(budget))
        except ValueError as exc:
            return str(exc)
        return ""

    def _tell_stage(self, frame: LedgerFrame, stage: Stage) -> None:
        now = self._clock()
        sent_at = now if frame.sent_at is None else frame.sent_at
        self._observer.notify(
            Acked(frame.sequence, stage, now - frame.header.capture_time_mono, now - sent_at)
        )
