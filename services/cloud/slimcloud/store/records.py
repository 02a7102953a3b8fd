"""What the store keeps, as types: no string-keyed dicts leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from slimcloud.frame_id import FrameId

__all__ = [
    "CameraState",
    "DetectionResult",
    "Event",
    "EventKind",
    "FrameFilter",
    "FramePage",
    "FrameRecord",
    "FrameState",
    "LabelledDetection",
    "NewFrame",
    "RefetchRequest",
    "RefetchState",
    "ReviewMark",
    "Totals",
    "Triage",
]


class FrameState(StrEnum):
    """Where a stored frame is on its way."""

    QUEUED = "queued"
    DETECTED = "detected"
    DROPPED = "dropped"  # its deadline passed while it waited
    FAILED = "failed"  # could not be decoded, or killed too many workers (dead letter)


class RefetchState(StrEnum):
    """Where a request for an enhancement is on its way."""

    PENDING = "pending"  # the camera has not been told yet
    SENT = "sent"
    DONE = "done"  # the enhancement is stored
    REFUSED = "refused"  # the edge cannot, see `detail`


class Triage(StrEnum):
    """What the first rung made of a frame, and what was detected from then."""

    NONE = "none"  # it was not asked
    QUIET = "quiet"  # nothing of interest: the detector did not run
    SENT = "sent"  # something may be there: detected from what the camera had sent
    ENHANCED = "enhanced"  # something may be there: detected from the enhancement asked for
    FALLBACK = "fallback"  # as ENHANCED, but it did not come in time: detected from what was sent


class ReviewMark(StrEnum):
    """What a person made of a frame."""

    OPEN = "open"  # nobody has said anything, or a mark was taken back
    REVIEWED = "reviewed"
    WRONG = "wrong"  # the detections are wrong: something is missing, or is not what it is called


class EventKind(StrEnum):
    FRAME_DETECTED = "frame.detected"  # a live frame: somebody may be waiting for it
    FRAME_BACKFILLED = "frame.backfilled"  # detected too, but it came late: for the record
    FRAME_DROPPED = "frame.dropped"
    FRAME_FAILED = "frame.failed"
    ENHANCEMENT_STORED = "enhancement.stored"
    REFETCH_REQUESTED = "refetch.requested"
    REFETCH_REFUSED = "refetch.refused"
    REVIEW_RECORDED = "review.recorded"
    GAP_STORED = "gap.stored"
    BUDGET_REQUESTED = "budget.requested"
    CAMERA_CONNECTED = "camera.connected"
    CAMERA_DISCONNECTED = "camera.disconnected"
    UNKNOWN = "unknown"  # a newer build wrote it: passed over, but its place is kept


@dataclass(frozen=True, slots=True)
class NewFrame:
    """A checked frame on its way into the store."""

    frame_id: FrameId
    container: bytes
    level: int
    quality: float
    image_hw: tuple[int, int]
    capture_time_unix_us: int  # the edge's wall clock, microseconds
    received_time_unix_us: int  # the cloud's wall clock, microseconds
    expires_unix_us: int = 0  # the cloud's wall clock, microseconds; 0 = never
    lane: str = "live"  # live or backfill
    traceparent: str = ""  # W3C Trace Context; empty = not traced
    link_bytes_per_second: int = 0  # what the camera planned with; 0 = not said


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """A stored frame without its bytes."""

    frame_id: FrameId
    level: int
    quality: float
    image_hw: tuple[int, int]
    capture_time_unix_us: int
    received_time_unix_us: int
    expires_unix_us: int
    lane: str
    base_bytes: int
    enhancement_bytes: int  # 0 = no enhancement is stored
    state: FrameState
    reason: str  # why it was dropped or failed; else empty
    label_scores: Mapping[str, float] = field(default_factory=dict)  # best score per label
    enhancement_level: int = 0  # the level that the enhancement lifts the frame to; 0 = none
    triage: Triage = Triage.NONE
    # How sure triage was of anything of interest, 0 to 1; set from then on, so a frame that waits
    # for its enhancement has it and is still queued.
    presence: float | None = None
    mark: ReviewMark = ReviewMark.OPEN
    comments_count: int = 0
    jpeg_bytes: int = 0  # its picture as JPEG, measured when it was first decoded; 0 = not yet
    traceparent: str = ""  # W3C Trace Context of its capture; empty = not traced
    link_bytes_per_second: int = 0  # what the camera planned with; 0 = not said

    @property
    def bpp(self) -> float:
        """Bits per original pixel of all that is stored of the frame."""
        height, width = self.image_hw
        return 8.0 * (self.base_bytes + self.enhancement_bytes) / (height * width)


@dataclass(frozen=True, slots=True)
class LabelledDetection:
    box_xyxy: tuple[float, float, float, float]  # pixels of the original image
    score: float  # 0 to 1
    class_id: int
    label: str


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What the detector saw in one frame."""

    detections: Sequence[LabelledDetection]
    detector: str  # name/version of the detector
    codec: str  # name/version of the codec whose feature transform was used
    min_score: float  # detections below it were not kept
    queue_seconds: float  # waiting, from RECEIVED to the start of the batch
    compute_seconds: float  # entropy decoding, feature transform and detection
    batch_size: int
    detected_time_unix_us: int
    triage: Triage = Triage.NONE
    presence: float | None = None  # as in `FrameRecord`


@dataclass(frozen=True, slots=True)
class FrameFilter:
    """Which frames to list; every condition that is set must hold."""

    camera_id: str | None = None
    from_unix_us: int | None = None  # capture time, inclusive
    to_unix_us: int | None = None  # capture time, exclusive
    label: str | None = None  # a detection with this label
    min_score: float | None = None  # a detection (of `label`, when set) of at least this score
    mark: ReviewMark | None = None


@dataclass(frozen=True, slots=True)
class FramePage:
    """Newest first.

    A page may be short, even empty, and still have a `next_cursor`: go on until it is None.
    """

    frames: Sequence[FrameRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CameraState:
    camera_id: str
    connected: bool
    epoch: int
    model_name: str
    connected_time_unix_us: int
    last_frame_id: FrameId | None
    last_received_time_unix_us: int  # 0 = no frame yet
    frames_total: int
    bytes_total: int
    level: int  # of the newest frame
    quality: float
    bytes_today: int = 0  # containers received since midnight UTC
    lag_seconds: float | None = None  # capture to detected, of the newest detected frame
    deadline_seconds: float | None = None  # capture to detection that it aims for; None = none


@dataclass(frozen=True, slots=True)
class RefetchRequest:
    request_id: str
    frame_id: FrameId
    state: RefetchState
    detail: str  # for people; set when refused
    created_time_unix_us: int
    level: int = 0  # the level to reach; 0 = all there is
    expires_unix_us: int = 0  # nobody waits for it after this, the cloud's clock; 0 = never
    sent_time_unix_us: int = 0  # the camera was told; 0 = not yet
    ended_time_unix_us: int = 0  # done or refused; 0 = not yet

    def covers(self, level: int) -> bool:
        """Whether its answer reaches a level as well."""
        return self.level == 0 or (level != 0 and self.level >= level)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the events stream; `event_id` is its Redis stream id, fit for Last-Event-ID."""

    event_id: str
    kind: EventKind
    camera_id: str
    frame_id: FrameId | None
    detail: str  # request id, connection id or reason, by kind


@dataclass(frozen=True, slots=True)
class Totals:
    """Counted since the store was made; bytes are container bytes."""

    frames: int
    frame_bytes: int
    enhancements: int
    enhancement_bytes: int
    detected: int
    dropped: int
    failed: int
    removed: int  # frames that retention removed
    stored_bytes: int  # held now
    jpeg_pictures: int  # decoded pictures whose size as JPEG was measured, each frame once
    jpeg_bytes: int  # their bytes as JPEG
    jpeg_sent_bytes: int  # their container bytes when they were measured
