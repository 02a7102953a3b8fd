"""Between the edge's types and the messages of `slimwire.v1`."""

from __future__ import annotations

from slimedge.event import EdgeDetection
from slimedge.ledger import LedgerFrame
from slimwire.v1 import ingest_pb2 as pb

PROTOCOL_MINOR = 0

_MICRO = 1_000_000


def make_hello(
    camera_id: str, epoch: int, fingerprint: bytes, model_name: str, deadline_ms: int
) -> pb.StreamFramesRequest:
    """Who is speaking and with which model."""
    return pb.StreamFramesRequest(
        hello=pb.Hello(
            camera_id=camera_id,
            epoch=epoch,
            model_fingerprint=fingerprint,
            model_name=model_name,
            protocol_minor=PROTOCOL_MINOR,
            deadline_ms=deadline_ms,
        )
    )


def make_frame(frame: LedgerFrame, expire_ms: int, *, late: bool) -> pb.StreamFramesRequest:
    """One frame; `late` ones are for the record and raise no alert."""
    return pb.StreamFramesRequest(
        frame=pb.Frame(
            sequence=frame.sequence,
            capture_time_unix_us=round(frame.capture_time_unix * _MICRO),
            capture_time_mono_us=round(frame.capture_time_mono * _MICRO),
            container=frame.container,
            container_crc32c=frame.container_crc32c,
            deadline_ms=expire_ms,
            lane=pb.LANE_BACKFILL if late else pb.LANE_LIVE,
        )
    )


def make_enhancement(
    sequence: int, container: bytes, crc32c: int, request_id: str
) -> pb.StreamFramesRequest:
    """The channels that a frame's base did not carry."""
    return pb.StreamFramesRequest(
        enhancement=pb.Enhancement(
            sequence=sequence,
            container=container,
            container_crc32c=crc32c,
            request_id=request_id,
        )
    )


def make_refusal(request_id: str, detail: str) -> pb.StreamFramesRequest:
    """Why a command cannot be carried out."""
    return pb.StreamFramesRequest(refusal=pb.Refusal(request_id=request_id, detail=detail))


def max_live_level_of(welcome: pb.Welcome) -> int | None:
    """The widest level that the cloud wants unasked; None where it leaves that to the edge."""
    return welcome.max_live_level if welcome.HasField("max_live_level") else None


def seconds_of(micro: int) -> float:
    """Microseconds of the wire as seconds."""
    return micro / _MICRO


def detections_of(ack: pb.Ack) -> tuple[EdgeDetection, ...]:
    """What the cloud found in a frame."""
    return tuple(
        EdgeDetection((d.x_min, d.y_min, d.x_max, d.y_max), d.score, d.class_id, d.label)
        for d in ack.detections
    )


def nack_reason_of(nack: pb.Nack) -> str:
    """The reason as a short lower-case word; a reason of the future is `other`."""
    try:
        name = pb.NackReason.Name(nack.reason)
    except ValueError:
        return "other"
    return name.removeprefix("NACK_REASON_").lower()
