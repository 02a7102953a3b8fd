"""What a camera says after its Hello.

Frame        ─ check ─► Ack RECEIVED ─ store, queue ─► Ack PERSISTED
Enhancement  ─ check ─► Ack RECEIVED ─ store ────────► Ack PERSISTED
Gap          ─► gaps
Acceptance, Refusal ─► commands

A message that this build does not know is passed over: the camera may be newer than the cloud.
A frame that an earlier start of the camera captured keeps that start's epoch. It has its place in
the store, and its answers name the epoch; they end with PERSISTED, for nobody waits for its result.
"""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field

import grpc

from slimcloud.errors import (
    CloudError,
    FrameRefusedError,
    ReferenceRefusedError,
    StreamRefusedError,
)
from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.checks import ContainerChecker
from slimcloud.ingest.commands import take_acceptance, take_refusal
from slimcloud.ingest.gaps import MAX_TIME_US, take_gap
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.ingest.refusals import refusal_of, refusal_of_outcome
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, Lane, StoredFrame
from slimcloud.wall_clock import unix_us
from slimops.tracing import record_span, trace_of
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

MAX_TAKEN = 16  # frames on their way into the store at once: each is there several times over
_MAX_CRC_ERRORS = 10  # in a row: something between us breaks bytes
_MAX_REQUEST_ID = 64  # characters: it is kept with the event of its enhancement
# Fields that are stored as the camera says them: those of one name in message and record, but for
# what the wire says in another form.
_AS_SENT = tuple(
    (StoredFrame.model_fields.keys() & set(pb.Frame.DESCRIPTOR.fields_by_name))
    - {"lane", "traceparent"}
)


@dataclass(frozen=True, eq=False)
class Intake:
    """Takes what cameras send, for every stream of one process."""

    store: Store
    checker: ContainerChecker
    metrics: IngestMetrics
    _taking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_TAKEN))

    async def take(self, stream: CameraStream, request: pb.StreamFramesRequest) -> None:
        """Take one message and answer it.

        Raises:
            StreamRefusedError: the stream cannot go on.
        """
        kind = request.WhichOneof("message")
        if kind == "frame":
            frame = request.frame
            epoch = stream.foreign_epoch(frame.epoch)
            async with self._taking:
                await self._or_nack(stream, self._take_frame(stream, frame), frame.sequence, epoch)
        elif kind == "enhancement":
            addition = request.enhancement
            async with self._taking:
                taking = self._take_enhancement(stream, addition)
                request_id = addition.request_id
                await self._or_nack(stream, taking, addition.sequence, request_id=request_id)
        elif kind == "gap":
            await take_gap(self.store, stream, request.gap, self.metrics)
        elif kind == "acceptance":
            await take_acceptance(self.store, stream, request.acceptance.request_id)
        elif kind == "refusal":
            await take_refusal(self.store, stream, request.refusal)
        elif kind == "hello":
            raise StreamRefusedError(
                grpc.StatusCode.INVALID_ARGUMENT, "another Hello; it is the first message only"
            )
        else:
            logger.debug("unknown message passed over", extra={"camera_id": stream.camera_id})

    async def _take_frame(self, stream: CameraStream, frame: pb.Frame) -> None:
        bitstream = frame.container
        self._count(stream, len(bitstream))
        _spell_out_times(stream, frame)
        if frame.sequence == 0 or frame.capture_time_unix_us >= MAX_TIME_US:
            raise FrameRefusedError(
                "HEADER",
                f"sequence {frame.sequence}, capture time {frame.capture_time_unix_us} us; "
                f"sequences begin with 1, times end below {MAX_TIME_US}",
            )
        epoch = stream.foreign_epoch(frame.epoch)
        container = self.checker.check_base(
            bitstream, frame.container_crc32c, await self._reference_hw(stream, frame)
        )
        received_us, stored_us = unix_us(), self.store.clock()
        left_us = 0 if epoch else _time_left_us(stream, frame)
        is_late = bool(epoch) or frame.lane == pb.LANE_BACKFILL
        clock_offset_us = stream.clock.take(
            frame.capture_time_unix_us,
            received_us,
            None if is_late else frame.capture_time_mono_us,
        )
        stream.ack(frame.sequence, pb.STAGE_RECEIVED, epoch=epoch)
        if not epoch:
            stream.await_outcome(frame.sequence)
        try:
            is_new = await self.store.put_frame(
                StoredFrame(
                    frame_id=stream.frame_id(frame.sequence, epoch),
                    level=container.level,
                    quality=container.quality,
                    image_height=container.image_hw[0],
                    image_width=container.image_hw[1],
                    received_time_unix_us=received_us,
                    expires_unix_us=stored_us + left_us if left_us else 0,
                    stored_us=stored_us,
                    clock_offset_us=clock_offset_us,
                    lane=Lane.BACKFILL if is_late else Lane.LIVE,
                    base_bytes=len(bitstream),
                    state=FrameState.QUEUED,
                    traceparent=trace_of(frame.traceparent),
                    activity=0.0 if container.is_inter and not container.changes else None,
                    **{name: getattr(frame, name) for name in _AS_SENT},
                ),
                bitstream,
                stream.store_id,
            )
        except BaseException:
            if not epoch:
                stream.settle(frame.sequence)
            raise
        stream.ack(frame.sequence, pb.STAGE_PERSISTED, epoch=epoch)
        if frame.originals_seconds and not epoch:
            await self.store.cameras.set_originals(
                stream.camera_id, stream.epoch, frame.originals_seconds
            )
        if frame.socket_sent_bytes:
            await self.store.cameras.set_traffic(
                stream.camera_id, frame.socket_sent_bytes, frame.socket_received_bytes
            )
        if is_new:
            self.metrics.frames.labels(str(container.level)).inc()
            self.metrics.frame_bytes.observe(len(bitstream))
            seconds = (self.store.clock() - stored_us) / 1e6
            record_span("ingest", trace_of(frame.traceparent), seconds)
            return
        self.metrics.duplicates.inc()
        if not epoch:
            await self._repeat_outcome(stream, frame.sequence)

    async def _reference_hw(self, stream: CameraStream, frame: pb.Frame) -> tuple[int, int] | None:
        """The size of the frame that one needs, which its container does not say; None: of none."""
        if not frame.reference_sequence:
            return None
        if frame.reference_sequence >= frame.sequence:
            raise ReferenceRefusedError(
                f"frame {frame.sequence} cannot need frame {frame.reference_sequence}"
            )
        try:
            needed = stream.frame_id(frame.reference_sequence, frame.epoch)
            return (await self.store.get_frame(needed)).image_hw
        except CloudError as exc:
            raise ReferenceRefusedError(f"its reference: {exc}") from exc

    async def _repeat_outcome(self, stream: CameraStream, sequence: int) -> None:
        """The camera sent a frame again: it may have missed what came of it."""
        frame_id = stream.frame_id(sequence)
        record = await self.store.get_frame(frame_id)
        if record.state is FrameState.QUEUED:
            return
        stream.settle(sequence)
        if record.state is FrameState.DETECTED:
            result = await self.store.get_detections(frame_id)
            stream.ack(sequence, pb.STAGE_DETECTED, result)
        else:
            is_dropped = record.state is FrameState.DROPPED
            stream.nack(sequence, refusal_of_outcome(record.reason, is_dropped=is_dropped))

    async def _take_enhancement(self, stream: CameraStream, addition: pb.Enhancement) -> None:
        bitstream = addition.container
        self._count(stream, len(bitstream))
        frame_id = stream.frame_id(addition.sequence)
        try:
            if len(addition.request_id) > _MAX_REQUEST_ID:
                raise FrameRefusedError(
                    "HEADER",
                    f"request_id of {len(addition.request_id)} characters; repeat the Command's",
                )
            base = await self.store.get_frame(frame_id)
            container = self.checker.check_enhancement(bitstream, addition.container_crc32c, base)
            request_id = addition.request_id
            stream.ack(addition.sequence, pb.STAGE_RECEIVED, request_id=request_id)
            await self.store.put_enhancement(
                frame_id,
                bitstream,
                request_id,
                level=container.level,
                quality=container.quality,
            )
        except Exception as exc:
            if (refusal := refusal_of(exc)) is not None:
                await self.store.refetches.refuse(
                    stream.camera_id, addition.request_id, str(refusal)
                )
            raise
        stream.ack(addition.sequence, pb.STAGE_PERSISTED, request_id=request_id)
        self.metrics.enhancements.inc()
        self.metrics.enhancement_bytes.observe(len(bitstream))

    def _count(self, stream: CameraStream, size_bytes: int) -> None:
        stream.received_bytes_total += size_bytes
        if stream.spending.spend(size_bytes):
            self.metrics.broken_budgets.inc()
            logger.warning(
                "camera sends more than its byte budget", extra={"camera_id": stream.camera_id}
            )

    async def _or_nack(
        self,
        stream: CameraStream,
        taking: Awaitable[None],
        sequence: int,
        epoch: int = 0,
        *,
        request_id: str = "",
    ) -> None:
        try:
            await taking
        except Exception as exc:
            refusal = refusal_of(exc)
            if refusal is None:
                raise
            stream.nack(sequence, refusal, epoch=epoch, request_id=request_id)
            self.metrics.refused.labels(refusal.reason).inc()
            logger.warning(
                "refused: %s",
                refusal,
                extra={
                    "camera_id": stream.camera_id,
                    "frame_id": stream.frame_id(sequence, epoch),
                    "reason": refusal.reason,
                },
            )
            if refusal.reason != "CRC":
                stream.crc_errors_in_a_row = 0
                return
            stream.crc_errors_in_a_row += 1
            if stream.crc_errors_in_a_row >= _MAX_CRC_ERRORS:
                raise StreamRefusedError(
                    grpc.StatusCode.DATA_LOSS,
                    f"{_MAX_CRC_ERRORS} damaged containers in a row; check the link",
                ) from exc
        else:
            stream.crc_errors_in_a_row = 0


def _spell_out_times(stream: CameraStream, frame: pb.Frame) -> None:
    """Give a short frame the times that its stream's Hello and `capture_after_us` stand for.

    Raises:
        FrameRefusedError: they stand for none.
    """
    if not frame.HasField("capture_after_us"):
        return
    after_us = frame.capture_after_us
    mono_us, captured_us = stream.hello_mono_us + after_us, stream.hello_unix_us + after_us
    if not stream.hello_mono_us or not stream.hello_unix_us or mono_us < 0 or captured_us < 0:
        raise FrameRefusedError(
            "HEADER",
            f"captured {after_us} us after a Hello of {stream.hello_mono_us} us, "
            f"{stream.hello_unix_us} us since 1970; tell both times there, and none before them",
        )
    frame.capture_time_mono_us = min(mono_us, 2**64 - 1)
    frame.capture_time_unix_us = frame.capture_time_unix_us or min(captured_us, 2**64 - 1)


def _time_left_us(stream: CameraStream, frame: pb.Frame) -> int:
    """Microseconds until a frame's deadline, 1 or more; 0 where it has none.

    Raises:
        FrameRefusedError: it has passed.
    """
    if not frame.deadline_ms:
        return 0  # its monotonic time may be of another boot: the floor must not learn from it
    age_us = stream.age_floor.age_us(frame.capture_time_mono_us)
    left_us = 1000 * frame.deadline_ms - age_us
    if left_us <= 0:
        raise FrameRefusedError(
            "EXPIRED",
            f"at least {age_us // 1000} ms old on arrival, deadline {frame.deadline_ms} ms",
        )
    return left_us
