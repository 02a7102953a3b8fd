"""What docs/develop/protocol.md asks of every camera, whatever it sends: checked as it comes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import google_crc32c

from slimwire.v1 import ingest_pb2 as pb

FRAMES_ON_THEIR_WAY = 8  # that may have been coded before a Nack(REFERENCE) was read

_SHORT_MINOR = 2
_OWN_CHECKSUM = 3  # version of a container that ends with one
_KINDS = {"frame", "enhancement", "refusal", "gap", "acceptance"}


@dataclass(eq=False)
class Rules:
    """Follows one camera over its streams."""

    broken: list[str] = field(default_factory=list)  # what it did wrong, for people
    stored: set[int] = field(default_factory=set)  # sequences that the cloud has
    told: set[int] = field(default_factory=set)  # of which it has said so
    frames: dict[int, pb.Frame] = field(default_factory=dict)  # as they came first

    def __post_init__(self) -> None:
        self._hello = pb.Hello()
        self._welcome = pb.Welcome()
        self._depths: dict[int, int] = {}
        self._may_repeat: set[int] = set()
        self._in_flight: dict[int, int] = {}  # sequence -> bytes
        self._window = 0
        self._refused_until = 0  # sequence up to which none may be named any more
        self._since_refused = 0  # frames

    def hear_hello(self, request: pb.StreamFramesRequest) -> None:
        """The first message of a stream."""
        hello, earlier = request.hello, self._hello
        self._need(request.HasField("hello"), f"begins with {request.WhichOneof('message')}")
        self._need(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", hello.camera_id), "names no camera")
        self._need(hello.epoch, "has epoch 0")
        self._need(len(hello.model_fingerprint) == 8, "gives no fingerprint of 8 bytes")
        self._need(earlier.epoch in (0, hello.epoch), "has another epoch on its next stream")
        self._hello = hello

    def say_welcome(self, welcome: pb.Welcome) -> None:
        """The cloud answers the Hello."""
        before, self._welcome = self._welcome, welcome
        if before.store_id != welcome.store_id and before.store_id:
            self.told.clear()
            self._refused_until = 0
        self.told |= set(welcome.persisted_sequences)
        self._may_repeat = set(self.frames) - self.told
        self._in_flight.clear()
        self._window = welcome.credit_bytes

    def say(self, response: pb.StreamFramesResponse) -> None:
        """The cloud says something about a frame."""
        ack, nack = response.ack, response.nack
        if response.HasField("ack") and not ack.request_id:
            self._in_flight.pop(ack.sequence, None)
            if ack.stage >= pb.STAGE_PERSISTED:
                self.told.add(ack.sequence)
        elif response.HasField("nack") and not nack.request_id:
            self._in_flight.pop(nack.sequence, None)
            if nack.retryable:
                self._may_repeat.add(nack.sequence)
            if nack.reason == pb.NACK_REASON_REFERENCE:
                self.stored.clear()
                self.told.clear()
                if not self._refused_until:
                    self._refused_until, self._since_refused = max(self.frames), 0

    def hear(self, request: pb.StreamFramesRequest) -> None:
        """A message after the Hello."""
        kind = request.WhichOneof("message")
        self._need(kind in _KINDS, f"says {kind} after its Hello")
        if kind == "frame" and request.frame.epoch in (0, self._hello.epoch):
            self._hear_frame(request.frame)
        elif kind == "gap":
            gap = request.gap
            self._need(gap.gap_number, "tells a gap without a number")
            in_order = gap.from_time_unix_us <= gap.to_time_unix_us
            self._need(in_order or gap.reason == pb.GAP_REASON_CLOCK, "tells a gap that ends first")

    def _hear_frame(self, frame: pb.Frame) -> None:
        sequence, name = frame.sequence, f"frame {frame.sequence}"
        self._need(sequence, "sends a frame of sequence 0")
        first = self.frames.setdefault(sequence, frame)
        if first is not frame:
            self._need(first.container == frame.container, f"{name} comes again as another one")
            self._need(sequence in self._may_repeat, f"{name} comes again, and was not asked for")
            self._may_repeat.discard(sequence)
        self._check_form(frame, name)
        self._check_reference(frame, name)
        self._in_flight[sequence] = len(frame.container)
        on_their_way = sum(self._in_flight.values())
        fits = on_their_way <= self._window or len(self._in_flight) == 1
        self._need(fits, f"{name} is beyond the window: {on_their_way} of {self._window} bytes")

    def _check_form(self, frame: pb.Frame, name: str) -> None:
        is_short = self._welcome.protocol_minor >= _SHORT_MINOR
        checksum, data = frame.container_crc32c, frame.container
        if not checksum and is_short and data[4] >= _OWN_CHECKSUM:
            checksum, data = int.from_bytes(data[-4:], "little"), data[:-4]
        self._need(google_crc32c.value(data) == checksum, f"{name} has another checksum")
        if frame.HasField("capture_after_us"):
            self._need(is_short, f"{name} is short, and the cloud is older")
            has_times = self._hello.time_mono_us and self._hello.time_unix_us
            self._need(has_times, f"{name} is short, and the Hello has no times")
        else:
            self._need(frame.capture_time_unix_us, f"{name} does not say when it was captured")

    def _check_reference(self, frame: pb.Frame, name: str) -> None:
        named, most = frame.reference_sequence, self._welcome.max_reference_depth
        self._since_refused += 1
        if not named:
            self._depths[frame.sequence] = 0
            return
        self._need(named < frame.sequence, f"{name} names {named}, which is no earlier one")
        depth = self._depths.get(named, most) + 1
        self._need(depth <= most, f"{name} needs {depth} frames; the cloud takes {most}")
        self._depths[frame.sequence] = depth
        if named <= self._refused_until:
            is_late = self._since_refused > FRAMES_ON_THEIR_WAY
            self._need(not is_late, f"{name} names {named} still, after a reference was refused")
        else:
            self._need(named in self.told, f"{name} names {named}, not known to be PERSISTED")

    def _need(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)
