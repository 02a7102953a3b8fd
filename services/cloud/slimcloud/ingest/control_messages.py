"""What a camera says besides pictures: gaps, and its answers to commands.

Gap         ─ check ─► stored ─► GapAck; when Redis is full no GapAck, so it is told again
Acceptance  ─────────► noted with its request
Refusal     ─────────► noted with its request

A message that this build does not know is passed over: the camera may be newer than the cloud.
"""

from __future__ import annotations

import logging

import grpc

from slimcloud.errors import StoreFullError, StreamRefusedError
from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.store.cameras.gaps import GapRecord
from slimcloud.store.frames import Store
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

MAX_TIME_US = 2**53  # beyond it an index by time could not tell two times apart
_DETAIL_LENGTH = 500  # characters of a camera's words that are kept


class ControlMessages:
    """Takes what cameras say without bytes, for every stream of one process."""

    def __init__(self, store: Store, metrics: IngestMetrics) -> None:
        self._store = store
        self._metrics = metrics

    async def take(self, stream: CameraStream, request: pb.StreamFramesRequest) -> None:
        """Take one message and answer it.

        Raises:
            StreamRefusedError: it is another Hello.
            redis.RedisError: the store does not answer.
        """
        kind = request.WhichOneof("message")
        if kind == "gap":
            await self._take_gap(stream, request.gap)
        elif kind == "acceptance":
            await self._take_acceptance(stream, request.acceptance.request_id)
        elif kind == "refusal":
            await self._take_refusal(stream, request.refusal)
        elif kind == "hello":
            raise StreamRefusedError(
                grpc.StatusCode.INVALID_ARGUMENT, "another Hello; it is the first message only"
            )
        else:
            logger.debug("unknown message passed over", extra={"camera_id": stream.camera_id})

    async def _take_gap(self, stream: CameraStream, gap: pb.Gap) -> None:
        epoch = stream.foreign_epoch(gap.epoch)
        refused = _fault_of(gap)
        if not refused:
            record = GapRecord(
                camera_id=stream.camera_id,
                epoch=gap.epoch or stream.epoch,
                gap_number=gap.gap_number,
                from_unix_us=gap.from_time_unix_us,
                to_unix_us=gap.to_time_unix_us,
                reason=_reason_of(gap),
                dropped_frames=gap.dropped_frames,
                dropped_bytes=gap.dropped_bytes,
                detail=gap.detail[:_DETAIL_LENGTH],
                first_sequence=gap.first_sequence,
                last_sequence=gap.last_sequence,
            )
            try:
                is_new = await self._store.gaps.put(record)
            except StoreFullError as exc:
                logger.warning("gap not stored: %s", exc, extra={"camera_id": stream.camera_id})
                return
            if is_new:
                self._metrics.gap_taken(record.reason, record.dropped_frames)
        ack = pb.GapAck(gap_number=gap.gap_number, refused=refused, epoch=epoch)
        stream.answer(pb.StreamFramesResponse(gap_ack=ack))

    async def _take_acceptance(self, stream: CameraStream, request_id: str) -> None:
        if await self._store.budgets.accept(stream.camera_id, request_id):
            stream.spending.keep_to((await self._store.budgets.get(stream.camera_id)).stated)

    async def _take_refusal(self, stream: CameraStream, refusal: pb.Refusal) -> None:
        request_id, detail = refusal.request_id, refusal.detail[:_DETAIL_LENGTH]
        if not await self._store.budgets.refuse(stream.camera_id, request_id, detail):
            await self._store.refetches.refuse(stream.camera_id, request_id, detail)


def _fault_of(gap: pb.Gap) -> str:
    """What is wrong with a gap, for people; empty when nothing is."""
    begin_us, end_us = gap.from_time_unix_us, gap.to_time_unix_us
    if gap.gap_number == 0:
        return "gap_number 0; they begin with 1"
    if max(begin_us, end_us) >= MAX_TIME_US:
        return f"from {begin_us} to {end_us} us; times end below {MAX_TIME_US}"
    if end_us < begin_us and gap.reason != pb.GAP_REASON_CLOCK:
        return f"it ends at {end_us} us and begins at {begin_us} us; swap them"
    return ""


def _reason_of(gap: pb.Gap) -> str:
    known = gap.reason in pb.GapReason.values()
    name = pb.GapReason.Name(gap.reason if known else pb.GAP_REASON_UNSPECIFIED)
    return name.removeprefix("GAP_REASON_").lower()
