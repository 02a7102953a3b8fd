"""What happens at the edge, as typed events for whoever watches: a terminal, metrics, a test.

    Damaged
    Captured -> Replaced | Skipped
             -> Encoded -> Sent -> Acked(RECEIVED) -> Acked(PERSISTED) -> Detected
                        |       -> Nacked
                        -> Lost | Spooled    kept on disk, to be sent when there is room
    Refetched | RefetchRefused   an enhancement that the cloud asked for
    LinkChanged, CameraChanged, SpoolChanged   state, with the reason in words
    LinkTraffic                  what has really left and entered this machine
    Backfilled                   a kept frame is at the cloud now
    GapRecorded                  the cloud will be told what it never gets, and why
    ClockStepped                 somebody set the wall clock

Two numbers name a picture: `frame` counts what the camera gave, `sequence` counts what was encoded
for the wire (1, 2, 3 ... per start of the process). All durations are seconds on this machine's
monotonic clock unless the field says cloud.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slimcodec.detection import Detection
from slimcodec.symbols import Kind
from slimcontrol.controller import WaitReason
from slimedge.gap import Gap


class SkipReason(StrEnum):
    """Why a captured frame was not encoded, where the controller has no reason against it."""

    LINK_DOWN = "link_down"  # no stream to the cloud, and no spool
    OUTAGE = "outage"  # no stream to the cloud, and the spool gets fewer frames
    ENCODE_FAILED = "encode_failed"  # the encoder refused the picture; the log has its reason
    WARM_UP = "warm_up"  # it was only used to measure the encoder


class LossReason(StrEnum):
    """Why an encoded frame will never be detected, as far as this edge knows."""

    EXPIRED = "expired"  # older than `expire_seconds` when its turn came
    TOO_LARGE = "too_large"  # above the cloud's `max_frame_bytes`
    RESEND_FULL = "resend_full"  # more unpersisted frames than are kept for a reconnect
    NO_RESULT = "no_result"  # received by the cloud, but no detections came in time
    STOPPED = "stopped"  # the edge stopped before the cloud had it
    SPOOL_FULL = "spool_full"  # it was the oldest on disk, and the spool had no room
    DISK = "disk"  # it was to be kept on disk, and the disk failed
    REFUSED = "refused"  # the cloud did not take it, and nothing is kept for later
    SPOOL_AGE = "spool_age"  # it was on disk for too long
    STORE_LOST = "store_lost"  # it needs a frame that the cloud has lost


class Stage(StrEnum):
    """How far the cloud has taken a frame."""

    RECEIVED = "received"
    PERSISTED = "persisted"
    DETECTED = "detected"


class LinkState(StrEnum):
    """The uplink's life: CONNECTING -> UP -> DOWN -> CONNECTING ..., STOPPED at the end."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"
    STOPPED = "stopped"


class CameraState(StrEnum):
    """The camera's life: OPENING -> UP -> LOST -> OPENING ..., ENDED for a file that is over."""

    OPENING = "opening"
    UP = "up"
    LOST = "lost"
    ENDED = "ended"


class EdgeEvent:
    """Base of all of them."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Captured(EdgeEvent):
    frame: int
    image_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Damaged(EdgeEvent):
    """A picture that cannot be read whole was passed over; it was not captured."""

    reason: str


@dataclass(frozen=True, slots=True)
class Replaced(EdgeEvent):
    """A newer frame took its place before the encoder was free."""

    frame: int


@dataclass(frozen=True, slots=True)
class Skipped(EdgeEvent):
    frame: int
    reason: SkipReason | WaitReason


@dataclass(frozen=True, slots=True)
class Encoded(EdgeEvent):
    frame: int
    sequence: int
    level: int
    quality: float
    bitstream_bytes: int
    image: NDArray[np.uint8]  # (H, W, 3) RGB as it was encoded, after `max_edge`
    wait_seconds: float  # capture until the encoder took it
    encode_seconds: float  # scaling, transform and entropy coding
    probe: bool  # sent only to learn the link's rate
    kind: Kind = "intra"
    activity: float = 1.0  # share of the places that it codes


@dataclass(frozen=True, slots=True)
class Sent(EdgeEvent):
    sequence: int
    bitstream_bytes: int
    credit_wait_seconds: float  # encoded until it was handed to the transport
    resent: bool


@dataclass(frozen=True, slots=True)
class Lost(EdgeEvent):
    sequence: int
    reason: LossReason
    capture_time_unix: float = 0.0  # wall clock, seconds
    size_bytes: int = 0  # of its container


@dataclass(frozen=True, slots=True)
class Acked(EdgeEvent):
    sequence: int
    stage: Stage
    since_sent_seconds: float


@dataclass(frozen=True, slots=True)
class Detected(EdgeEvent):
    sequence: int
    detections: tuple[Detection, ...]
    latency_seconds: float  # capture until the detections were back here
    cloud_queue_seconds: float  # on the cloud's clock: waiting
    cloud_compute_seconds: float  # on the cloud's clock: entropy decoding, transform, detection


@dataclass(frozen=True, slots=True)
class Nacked(EdgeEvent):
    sequence: int
    reason: str  # of the wire's `NackReason`, in lower case: "crc", "queue_full", "reference", ...
    detail: str
    retryable: bool
    epoch: int = 0  # of the earlier start that captured the frame; 0: this one


@dataclass(frozen=True, slots=True)
class Refetched(EdgeEvent):
    """The enhancement of a frame was sent because the cloud asked for it."""

    request_id: str
    sequence: int
    level: int
    bitstream_bytes: int


@dataclass(frozen=True, slots=True)
class RefetchRefused(EdgeEvent):
    request_id: str
    sequence: int
    detail: str


@dataclass(frozen=True, slots=True)
class LinkChanged(EdgeEvent):
    state: LinkState
    detail: str


@dataclass(frozen=True, slots=True)
class LinkTraffic(EdgeEvent):
    """What has passed since it was told last, in bytes of IP packets."""

    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class CameraChanged(EdgeEvent):
    state: CameraState
    detail: str


@dataclass(frozen=True, slots=True)
class SpoolChanged(EdgeEvent):
    """Whether frames can be kept on disk."""

    is_up: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Spooled(EdgeEvent):
    sequence: int
    bitstream_bytes: int


@dataclass(frozen=True, slots=True)
class Backfilled(EdgeEvent):
    epoch: int  # of the start that captured it
    sequence: int
    bitstream_bytes: int


@dataclass(frozen=True, slots=True)
class GapRecorded(EdgeEvent):
    gap: Gap


@dataclass(frozen=True, slots=True)
class ClockStepped(EdgeEvent):
    """The wall clock was set between two frames."""

    from_unix: float  # seconds: what it would have shown
    to_unix: float  # seconds: what it shows


class EdgeObserver(Protocol):
    """Is told everything, on the event loop's thread; must return at once and not raise."""

    def notify(self, event: EdgeEvent) -> None: ...
