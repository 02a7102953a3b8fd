"""Between the edge's types and the messages of `slimwire.v1`, which the edge knows here alone.

What the cloud says is passed on under the names below, to be matched (`case Ack() as ack`) and read
by its fields, which have the units of the wire; what needs more than that is a function here.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import google_crc32c
import grpc.aio
from google.protobuf.message import Message

from slimcodec.container import has_checksum
from slimcodec.detection import Detection
from slimcontrol.budget import Budget
from slimedge.event import Stage
from slimedge.frame import FrameHeader, micros_of
from slimedge.gap import Gap
from slimedge.link.traffic import NO_TRAFFIC, Traffic
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

PROTOCOL_MINOR = 2
MAX_UNPERSISTED = 1024  # sequences in a Hello that the cloud looks up

_SHORT_MINOR = 2  # of a cloud that takes short frames
_SAME_MICROS = 1000  # two clocks that are no further apart tell the same time
_STAGES = {pb.STAGE_PERSISTED: Stage.PERSISTED, pb.STAGE_DETECTED: Stage.DETECTED}
_SHORTEST_ROUND_TRIP = 1e-4  # seconds: loopback

Request = pb.StreamFramesRequest
Response = pb.StreamFramesResponse
Hello = pb.Hello
Welcome = pb.Welcome
Ack = pb.Ack
Nack = pb.Nack
Credit = pb.Credit
Command = pb.Command
Drain = pb.Drain
GapAck = pb.GapAck
Call = grpc.aio.StreamStreamCall[Request, Response]


def open_call(channel: grpc.aio.Channel, token: str | None) -> Call:
    """Call the cloud; nothing is said yet."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    stub = ingest_pb2_grpc.IngestServiceStub(channel)
    return stub.StreamFrames(request_iterator=None, metadata=metadata)


def make_hello(
    settings: EdgeSettings,
    epoch: int,
    fingerprint: bytes,
    model_name: str,
    budget: Budget | None = None,
    unpersisted: Sequence[int] = (),
) -> Request:
    """Who is speaking, with which model, and which frames the cloud may have already."""
    hello = Hello(
        camera_id=settings.camera_id,
        epoch=epoch,
        model_fingerprint=fingerprint,
        model_name=model_name,
        protocol_minor=PROTOCOL_MINOR,
        deadline_ms=round(1000 * settings.deadline_seconds),
        unpersisted_sequences=unpersisted[:MAX_UNPERSISTED],
        time_mono_us=micros_of(time.monotonic()),
        time_unix_us=micros_of(time.time()),
    )
    if budget is not None:
        hello.byte_budget.container_bytes = budget.container_bytes
        hello.byte_budget.period_seconds = budget.period_seconds
    return Request(hello=hello)


def begun_by(hello: Request, welcome: Welcome) -> Hello | None:
    """The Hello whose times short frames count from; None: this cloud takes long ones only."""
    return hello.hello if welcome.protocol_minor >= _SHORT_MINOR else None


def make_frame(
    header: FrameHeader,
    container: bytes,
    expire_ms: int = 0,
    *,
    late: bool,
    epoch: int = 0,
    hello: Hello | None = None,
    traffic: Traffic = NO_TRAFFIC,
) -> Request:
    """One frame.

    Args:
        header, container: Of it.
        expire_ms: Its age from which nobody wants its result; 0: never.
        late: It is for the record, and raises no alert.
        epoch: Of an earlier start that captured it; 0: of this one.
        hello: What a short frame counts its times from; None: it is a long one.
        traffic: What has passed over all streams, where it is to be told.
    """
    frame = pb.Frame(
        **asdict(header),
        container=container,
        deadline_ms=expire_ms,
        lane=pb.LANE_BACKFILL if late else pb.LANE_LIVE,
        epoch=epoch,
        socket_sent_bytes=traffic.sent_bytes,
        socket_received_bytes=traffic.received_bytes,
    )
    if hello is not None:
        _shorten(frame, hello)
    return Request(frame=frame)


def _shorten(frame: pb.Frame, hello: Hello) -> None:
    """Leave out what the cloud knows all the same."""
    frame.container_crc32c = _checksum(frame.container, frame.container_crc32c, hello)
    if frame.lane == pb.LANE_LIVE:
        frame.ClearField("lane")
    if frame.capture_time_mono_us:
        after = frame.capture_time_mono_us - hello.time_mono_us
        frame.capture_after_us, frame.capture_time_mono_us = after, 0
        if abs(hello.time_unix_us + after - frame.capture_time_unix_us) <= _SAME_MICROS:
            frame.capture_time_unix_us = 0


def _checksum(container: bytes, crc32c: int, hello: Hello | None) -> int:
    """What is told of a container's checksum: nothing where it has one of its own."""
    return 0 if hello is not None and has_checksum(container) else crc32c


def make_gap(gap: Gap, epoch: int) -> Request:
    """The record of what was dropped; `epoch` 0 = of this start."""
    return Request(
        gap=pb.Gap(
            gap_number=gap.number,
            from_time_unix_us=micros_of(gap.from_unix),
            to_time_unix_us=micros_of(gap.to_unix),
            dropped_frames=gap.frames,
            dropped_bytes=gap.size_bytes,
            reason=f"GAP_REASON_{gap.reason.name}",
            first_sequence=gap.first_sequence,
            last_sequence=gap.last_sequence,
            epoch=epoch,
        )
    )


def make_enhancement(
    sequence: int, container: bytes, request_id: str, hello: Hello | None = None
) -> Request:
    """The channels that a frame's base did not carry; `hello` as of a frame."""
    return Request(
        enhancement=pb.Enhancement(
            sequence=sequence,
            container=container,
            container_crc32c=_checksum(container, google_crc32c.value(container), hello),
            request_id=request_id,
        )
    )


def make_reply(request_id: str, why_not: str = "") -> Request:
    """A command is carried out; or why it cannot be."""
    if why_not:
        return Request(refusal=pb.Refusal(request_id=request_id, detail=why_not))
    return Request(acceptance=pb.Acceptance(request_id=request_id))


@dataclass(frozen=True, slots=True)
class Refetch:
    """The cloud asks for what a frame left out."""

    request_id: str
    sequence: int
    level: int | None  # to reach; None = the widest
    quality: float  # to reach; 0 = the frame's own
    expires: float  # monotonic seconds: nobody waits for it any more


def message_of(response: Response) -> Message | None:
    """What the cloud says; None: this edge does not know the kind."""
    kind = response.WhichOneof("message")
    return None if kind is None else getattr(response, kind)


def asked_by(command: Command, now: float) -> Refetch | Budget | None:
    """What a command asks that arrived at monotonic time `now`; a budget, or None for none.

    Raises:
        ValueError: it is none that this edge knows, or asks for what cannot be.
    """
    if command.HasField("refetch_enhancement"):
        asked = command.refetch_enhancement
        expires = now + (asked.expire_ms / 1000 or math.inf)
        level = asked.level or None
        return Refetch(command.request_id, asked.sequence, level, asked.quality, expires)
    if not command.HasField("set_budget"):
        raise ValueError("this camera does not know it")
    budget = command.set_budget.byte_budget
    if not budget.container_bytes:
        return None
    if not budget.period_seconds:
        raise ValueError("a byte budget of 0 seconds; name the period that the bytes are for")
    return Budget(budget.container_bytes, budget.period_seconds)


def round_trip_of(elapsed_seconds: float, welcome: Welcome) -> float:
    """The link's round trip, seconds: from Hello to Welcome without what the cloud took to answer.

    What the edge itself was late to read it stays in: it is an upper bound.
    """
    return max(_SHORTEST_ROUND_TRIP, elapsed_seconds - welcome.handling_us / 1e6)


def max_live_level_of(welcome: Welcome) -> int | None:
    """The widest level that the cloud wants unasked; None where it leaves that to the edge."""
    return welcome.max_live_level if welcome.HasField("max_live_level") else None


def stage_of(ack: Ack) -> Stage:
    """How far the cloud has a container."""
    return _STAGES.get(ack.stage, Stage.RECEIVED)


def waited_for_enhancement(ack: Ack) -> bool:
    """Whether the frame had to wait for more of it before it was detected."""
    return ack.triage in (pb.TRIAGE_ENHANCED, pb.TRIAGE_FALLBACK)


def detections_of(ack: Ack) -> tuple[Detection, ...]:
    """What the cloud found in a frame."""
    return tuple(
        Detection((d.x_min, d.y_min, d.x_max, d.y_max), d.score, d.class_id, d.label)
        for d in ack.detections
    )


def nack_reason_of(nack: Nack) -> str:
    """The reason as a short lower-case word; a reason of the future is `other`."""
    try:
        name = pb.NackReason.Name(nack.reason)
    except ValueError:
        return "other"
    return name.removeprefix("NACK_REASON_").lower()
