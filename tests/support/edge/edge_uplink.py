"""An uplink on its own: frames made for tests, and a recorder of what it tells."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import google_crc32c

from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimedge.event import Acked, EdgeEvent, LinkChanged, LinkState, LossReason, Lost, Stage
from slimedge.frame import FrameHeader, micros_of
from slimedge.link.answer import AnswerReader
from slimedge.link.uplink import Uplink
from slimedge.link.wire import Refetch, make_hello
from slimedge.memory.ledger import Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.settings import EdgeSettings
from support.edge.edge_recorder import EdgeRecorder

POINT = OperatingPoint(level=0, quality=0, bpp=0.1, utility=1.0)
FINGERPRINT = b"12345678"
EPOCH = 7


class UplinkRecorder(EdgeRecorder):
    """Keeps every event of an uplink, its ledger, and what the cloud's commands ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.budget = BudgetAccount(None, lambda: self.ledger.sent_bytes, time.monotonic)
        self.controller = Controller((POINT,), {0: 1e-9}, deadline_seconds=None, frame_seconds=0.1)
        self.refetches: list[Refetch] = []
        self.max_in_flight_bytes = 0

    def notify(self, event: EdgeEvent) -> None:
        self.max_in_flight_bytes = max(self.max_in_flight_bytes, self.ledger.in_flight_bytes)
        super().notify(event)

    @property
    def links(self) -> list[tuple[LinkState, str]]:
        return [(event.state, event.detail) for event in self.of(LinkChanged)]

    @property
    def is_up(self) -> bool:
        return bool(self.links) and self.links[-1][0] is LinkState.UP

    @property
    def lost(self) -> list[tuple[int, LossReason]]:
        return [(event.sequence, event.reason) for event in self.of(Lost)]

    @property
    def received(self) -> list[int]:
        return self._at(Stage.RECEIVED)

    @property
    def persisted(self) -> list[int]:
        return self._at(Stage.PERSISTED)

    @property
    def detected(self) -> list[int]:
        return self._at(Stage.DETECTED)

    def _at(self, stage: Stage) -> list[int]:
        return [event.sequence for event in self.of(Acked) if event.stage is stage]


def make_uplink(
    address: str,
    recorder: UplinkRecorder,
    *,
    fingerprint: bytes = FINGERPRINT,
    deadline_seconds: float = 0.0,
    expire_seconds: float = 0.0,
    answer_seconds: float = 10.0,
    reconnect_max_seconds: float = 0.1,
    spool: SpoolWorker | None = None,
) -> Uplink:
    """An uplink that tells `recorder` and reconnects fast."""
    spool = make_spool_worker(recorder) if spool is None else spool
    settings = EdgeSettings(
        source="none",
        camera_id="cam-1",
        cloud_address=address,
        deadline_seconds=deadline_seconds,
        expire_seconds=expire_seconds,
        reconnect_min_seconds=0.02,
        reconnect_max_seconds=reconnect_max_seconds,
        answer_seconds=answer_seconds,
    )
    return Uplink(
        settings=settings,
        hello=lambda unpersisted: make_hello(
            settings, EPOCH, fingerprint, "toy/1", unpersisted=unpersisted
        ),
        ledger=recorder.ledger,
        spool=spool,
        answers=AnswerReader(
            ledger=recorder.ledger,
            spool=spool,
            controller=recorder.controller,
            budget=recorder.budget,
            observer=recorder,
            ask_refetch=recorder.refetches.append,
            clock=time.monotonic,
        ),
        observer=recorder,
        clock=time.monotonic,
    )


def make_spool_worker(recorder: UplinkRecorder, path: Path | None = None) -> SpoolWorker:
    """A spool for an uplink; in memory, so for gaps only, unless a file is given."""
    return SpoolWorker(
        path,
        EPOCH,
        max_bytes=10**7,
        max_age_seconds=3600,
        is_held=recorder.ledger.holds,
        observer=recorder,
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
