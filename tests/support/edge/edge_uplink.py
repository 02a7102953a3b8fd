"""An uplink on its own: frames made for tests, and a handler that keeps what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import google_crc32c

from slimedge.backoff import FullJitter
from slimedge.condition import Condition
from slimedge.event import LinkState, LossReason, Observers
from slimedge.frame_header import FrameHeader, micros_of
from slimedge.link.cloud_channel import CloudEndpoint
from slimedge.link.uplink import Uplink
from slimedge.link.wire import make_hello
from slimedge.memory.ledger import Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimwire.v1 import ingest_pb2 as pb

FINGERPRINT = b"12345678"
EPOCH = 7


class RecordingHandler:
    """Keeps everything that an uplink tells; wait for it with `wait_until`."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.may_go = Condition()
        self.links: list[tuple[LinkState, str]] = []
        self.sent: list[LedgerFrame] = []
        self.lost: list[tuple[int, LossReason]] = []
        self.received: list[int] = []
        self.persisted: list[int] = []
        self.detected: list[int] = []
        self.nacks: list[pb.Nack] = []
        self.refetches: list[tuple[str, int]] = []
        self.budgets: list[pb.ByteBudget] = []
        self.ack_seconds: list[float] = []
        self.round_trips: list[float] = []
        self.max_in_flight_bytes = 0
        self.elapsed_seconds = 0.0
        self._heard = Condition()

    @property
    def is_up(self) -> bool:
        return bool(self.links) and self.links[-1][0] is LinkState.UP

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something that was told makes `predicate` true."""
        while not predicate():
            await self._heard.wait()

    def on_link(self, state: LinkState, detail: str) -> None:
        self.links.append((state, detail))
        self._heard.notify_all()

    def on_connected(self, round_trip_seconds: float, max_live_level: int | None) -> None:
        self.round_trips.append(round_trip_seconds)

    def on_sent(self, frame: LedgerFrame) -> None:
        self.sent.append(frame)
        self.max_in_flight_bytes = max(self.max_in_flight_bytes, self.ledger.in_flight_bytes)
        self._heard.notify_all()

    def on_lost(self, frame: LedgerFrame, reason: LossReason) -> None:
        self.lost.append((frame.sequence, reason))
        self._heard.notify_all()

    def on_received(
        self, frame: LedgerFrame, server_time: float, received_bytes_total: int
    ) -> None:
        self.received.append(frame.sequence)
        if frame.sent_at is not None:
            self.ack_seconds.append(time.monotonic() - frame.sent_at)
        self._heard.notify_all()

    def on_persisted(self, frame: LedgerFrame) -> None:
        self.persisted.append(frame.sequence)
        self._heard.notify_all()

    def on_detected(self, frame: LedgerFrame, ack: pb.Ack) -> None:
        self.detected.append(frame.sequence)
        self._heard.notify_all()

    def on_nacked(self, nack: pb.Nack) -> None:
        self.nacks.append(nack)
        self._heard.notify_all()

    def on_budget(self, budget: pb.ByteBudget) -> str:
        self.budgets.append(budget)
        self._heard.notify_all()
        return ""

    def on_refetch(self, request_id: str, refetch: pb.RefetchEnhancement) -> None:
        self.refetches.append((request_id, refetch.sequence))
        self._heard.notify_all()


def make_uplink(
    address: str,
    handler: RecordingHandler,
    *,
    fingerprint: bytes = FINGERPRINT,
    deadline_seconds: float | None = None,
    expire_seconds: float | None = None,
    spool: SpoolWorker | None = None,
) -> Uplink:
    """An uplink that tells `handler` and reconnects fast."""
    return Uplink(
        CloudEndpoint(address),
        lambda unpersisted: make_hello(
            "cam-1", EPOCH, fingerprint, "toy/1", 0, unpersisted=unpersisted
        ),
        handler.ledger,
        make_spool_worker(handler) if spool is None else spool,
        handler,
        handler.may_go,
        deadline_seconds=deadline_seconds,
        expire_seconds=expire_seconds,
        backoff=FullJitter(0.02, 0.1, Random(1)),
        clock=time.monotonic,
    )


def make_spool_worker(handler: RecordingHandler, path: Path | None = None) -> SpoolWorker:
    """A spool for an uplink; in memory, so for gaps only, unless a file is given."""
    return SpoolWorker(
        path,
        EPOCH,
        max_bytes=10**7,
        max_age_seconds=3600,
        is_held=handler.ledger.holds,
        observer=Observers(),
        first_retry_seconds=0.05,
    )


def make_ledger_frame(
    sequence: int, size_bytes: int = 1000, *, age_seconds: float = 0.0
) -> LedgerFrame:
    """A frame whose container is random bytes, captured `age_seconds` ago."""
    container = Random(sequence).randbytes(size_bytes)
    now = time.monotonic()
    header = FrameHeader(
        sequence=sequence,
        capture_time_unix_us=micros_of(time.time() - age_seconds),
        capture_time_mono_us=micros_of(now - age_seconds),
        container_crc32c=google_crc32c.value(container),
    )
    return LedgerFrame(header, container, encoded_at=now)
