"""What cameras say of pictures that will never come."""

import logging

from slimcloud.errors import StoreFullError
from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.commands import MAX_DETAIL
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.store.cameras.gaps import GapRecord
from slimcloud.store.frames import Store
from slimcloud.wall_clock import unix_us
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

MAX_TIME_US = 2**53  # beyond it an index by time could not tell two times apart


async def take_gap(store: Store, stream: CameraStream, gap: pb.Gap, metrics: IngestMetrics) -> None:
    """Store a gap and acknowledge it; not when Redis is full, so that it is told again."""
    epoch = stream.foreign_epoch(gap.epoch)
    refused = _fault_of(gap)
    if not refused:
        # As a frame of then: what the camera's clock did is told by that clock.
        clock_offset_us = 0
        if gap.reason != pb.GAP_REASON_CLOCK:
            clock_offset_us = stream.clock.take(gap.to_time_unix_us, unix_us())
        record = GapRecord(
            camera_id=stream.camera_id,
            epoch=gap.epoch or stream.epoch,
            gap_number=gap.gap_number,
            from_unix_us=max(0, gap.from_time_unix_us - clock_offset_us),
            to_unix_us=gap.to_time_unix_us - clock_offset_us,
            reason=_reason_of(gap),
            dropped_frames=gap.dropped_frames,
            dropped_bytes=gap.dropped_bytes,
            detail=gap.detail[:MAX_DETAIL],
            first_sequence=gap.first_sequence,
            last_sequence=gap.last_sequence,
        )
        try:
            is_new = await store.gaps.put(record)
        except StoreFullError as exc:
            logger.warning("gap not stored: %s", exc, extra={"camera_id": stream.camera_id})
            return
        if is_new:
            metrics.gaps.labels(record.reason).inc()
            metrics.gap_frames.labels(record.reason).inc(record.dropped_frames)
    ack = pb.GapAck(gap_number=gap.gap_number, refused=refused, epoch=epoch)
    stream.answer(pb.StreamFramesResponse(gap_ack=ack))


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
