"""One camera's connection: what it sent so far, and what it is to be told.

Answers go through a bounded outbox, so that neither Redis nor another camera ever waits for a slow
reader; a camera that does not read its answers is let go. RECEIVED is told with PERSISTED where the
store is quick: an answer costs as much as a quiet picture.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence

import grpc

from slimcloud.errors import FrameRefusedError, StreamRefusedError
from slimcloud.frame_id import FrameId
from slimcloud.ingest.checks import AgeFloor
from slimcloud.ingest.clock_offset import ClockOffset
from slimcloud.ingest.spending import Spending
from slimcloud.store.records import DetectionResult, Triage
from slimcodec.detection import Detection
from slimwire.v1 import ingest_pb2 as pb

_MAX_ANSWERS = 2048  # waiting in the outbox
_JOIN_SECONDS = 0.01  # RECEIVED waits so long for PERSISTED
_QUEUE_FULL_RETRY_MS = 1000  # a few batches later there may be room
_TRIAGE = {
    Triage.NONE: pb.TRIAGE_UNSPECIFIED,
    Triage.QUIET: pb.TRIAGE_QUIET,
    Triage.SENT: pb.TRIAGE_SENT,
    Triage.ENHANCED: pb.TRIAGE_ENHANCED,
    Triage.FALLBACK: pb.TRIAGE_FALLBACK,
}


def mono_us() -> int:
    """This process's monotonic clock, microseconds."""
    return time.monotonic_ns() // 1000


class CameraStream:
    """State of one stream after its Hello."""

    def __init__(self, camera_id: str, epoch: int) -> None:
        self.camera_id = camera_id
        self.epoch = epoch
        self.connection_id = uuid.uuid4().hex
        self.store_id = ""  # that the camera was told
        self.connect_entry_id = ""  # of our own camera.connected: an older one cannot end us
        self.hello_mono_us = self.hello_unix_us = 0  # the camera's clocks; 0 = it did not say
        self.age_floor = AgeFloor(mono_us)
        self.clock = ClockOffset(camera_id, mono_us)
        self.received_bytes_total = 0
        self.spending = Spending()
        self.crc_errors_in_a_row = 0
        self.is_held = False  # it was told to wait: no window
        self.pixels_per_second = 0  # of the detectors' time that it was granted; 0 = all it sends
        self.outstanding: set[int] = set()  # sequences PERSISTED here that have no outcome yet
        self.settled = asyncio.Event()  # set while nothing is outstanding
        self.settled.set()
        self._received: tuple[pb.Ack, asyncio.TimerHandle] | None = None  # waits for its PERSISTED
        self._outbox: asyncio.Queue[pb.StreamFramesResponse | None] = asyncio.Queue(_MAX_ANSWERS)
        self._end: asyncio.Future[StreamRefusedError] = asyncio.get_running_loop().create_future()

    def frame_id(self, sequence: int, epoch: int = 0) -> FrameId:
        """The frame of a sequence; of an earlier epoch than the stream's where one is given."""
        return FrameId(self.camera_id, epoch or self.epoch, sequence)

    def foreign_epoch(self, epoch: int) -> int:
        """The epoch that a message names, as the wire says it: 0 where it is the stream's."""
        return 0 if epoch == self.epoch else epoch

    # --- the stream's end ---

    def end(self, status: grpc.StatusCode, detail: str) -> None:
        """End the stream with a status; the first one counts."""
        if not self._end.done():
            self._end.set_result(StreamRefusedError(status, detail))

    async def ended(self) -> StreamRefusedError:
        """Why the stream is to end, once that is decided."""
        return await asyncio.shield(self._end)

    # --- frames under way ---

    def await_outcome(self, sequence: int) -> None:
        self.outstanding.add(sequence)
        self.settled.clear()

    def settle(self, sequence: int) -> None:
        self.outstanding.discard(sequence)
        if not self.outstanding:
            self.settled.set()

    # --- answers ---

    async def next_answer(self) -> pb.StreamFramesResponse | None:
        """Wait for an answer; None after the last one."""
        return await self._outbox.get()

    def answer(self, response: pb.StreamFramesResponse | None) -> None:
        """Put an answer into the outbox, None after the last one; a full outbox ends the stream."""
        if response is None:
            self._tell_received()
        try:
            self._outbox.put_nowait(response)
        except asyncio.QueueFull:
            self.end(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{_MAX_ANSWERS} answers wait to be read; read them, or reconnect",
            )

    def ack(
        self,
        sequence: int,
        stage: pb.Stage,
        result: DetectionResult | None = None,
        *,
        epoch: int = 0,
        request_id: str = "",
    ) -> None:
        """
        Args:
            epoch: of the frame; 0 = this stream's.
            request_id: of the enhancement that is acknowledged; empty = it is about the frame.
        """
        ack = pb.Ack(
            sequence=sequence,
            stage=stage,
            server_mono_us=mono_us(),
            received_bytes_total=self.received_bytes_total,
            request_id=request_id,
            epoch=epoch,
        )
        if result is not None:
            ack.queue_us = _to_us(result.queue_seconds)
            ack.compute_us = _to_us(result.compute_seconds)
            ack.detections.extend(_to_wire(result.detections))
            ack.triage = _TRIAGE[result.triage]
            ack.presence = result.presence or 0.0
        if stage == pb.STAGE_RECEIVED:  # one at a time, for a stream's containers are taken so
            self._tell_received()
            timer = asyncio.get_running_loop().call_later(_JOIN_SECONDS, self._tell_received)
            self._received = ack, timer
            return
        if stage == pb.STAGE_PERSISTED and self._received is not None:
            received, timer = self._received
            timer.cancel()
            self._received, ack.server_mono_us = None, received.server_mono_us
        self.answer(pb.StreamFramesResponse(ack=ack))

    def _tell_received(self) -> None:
        if self._received is not None:
            ack, timer = self._received
            timer.cancel()
            self._received = None
            self.answer(pb.StreamFramesResponse(ack=ack))

    def nack(
        self, sequence: int, refusal: FrameRefusedError, *, epoch: int = 0, request_id: str = ""
    ) -> None:
        """Arguments as of `ack`."""
        self._tell_received()
        nack = pb.Nack(
            sequence=sequence,
            reason=f"NACK_REASON_{refusal.reason}",
            detail=str(refusal),
            retryable=refusal.retryable,
            retry_after_ms=_QUEUE_FULL_RETRY_MS if refusal.reason == "QUEUE_FULL" else 0,
            request_id=request_id,
            epoch=epoch,
        )
        self.answer(pb.StreamFramesResponse(nack=nack))


def _to_us(seconds: float) -> int:
    return max(0, min(2**32 - 1, round(seconds * 1e6)))


def _to_wire(detections: Sequence[Detection]) -> list[pb.Detection]:
    return [
        pb.Detection(
            x_min=found.box_xyxy[0],
            y_min=found.box_xyxy[1],
            x_max=found.box_xyxy[2],
            y_max=found.box_xyxy[3],
            score=found.score,
            class_id=found.class_id,
            label=found.label,
        )
        for found in detections
    ]
