"""What the store keeps, as types: no string-keyed dicts leave it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from slimcloud.frame_id import FrameId
from slimcodec.detection import Detection


class Lane(StrEnum):
    """Kinds of work, most urgent first."""

    REVIEW = "review"  # a person asks for it
    LIVE = "live"
    BACKFILL = "backfill"  # what a camera sent late

    @property
    def rank(self) -> int:
        """0 = most urgent."""
        return tuple(Lane).index(self)


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
class DetectionResult:
    """What the detector saw in one frame."""

    detections: tuple[Detection, ...]
    detector: str  # name/version of the detector
    codec: str  # name/version of the codec whose feature transform was used
    min_score: float  # detections below it were not kept
    queue_seconds: float  # waiting, from RECEIVED to the start of the batch
    compute_seconds: float  # entropy decoding, feature transform and detection
    batch_size: int
    detected_time_unix_us: int
    triage: Triage = Triage.NONE
    presence: float | None = None  # as in `StoredFrame`

    def to_json(self) -> bytes:
        """As it is stored."""
        return _RESULT.dump_json(self)

    @classmethod
    def from_json(cls, document: bytes | str) -> DetectionResult:
        """From `to_json`, also of earlier builds."""
        return _RESULT.validate_json(document)


_RESULT = TypeAdapter(DetectionResult)


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
class CameraRecord:
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
