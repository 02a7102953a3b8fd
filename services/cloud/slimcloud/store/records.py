"""What the store keeps of a frame, declared once: what Redis holds, what the store gives, what the
API shows.

    Frame of a camera ──► StoredFrame ── written() ──► HSET slim:frame:{id}
      (ingest.intake)         ▲  └─ subclass FrameView ──► JSON of /frames
                              └──── read() ◄── HMGET names()

    engine's detections ─► DetectionResult ── to_json(), from_json() ── slim:detections:{id}

`docs/develop/adding-a-field.md` shows how one more field is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter

from slimcloud.frame_id import FrameId
from slimcloud.wall_clock import time_of
from slimcodec.detection import Detection
from slimcodec.symbols import Kind

CONTAINER = "container"  # field of the same hash: the bytes of the base
# Fields of the same hash that only scripts read and write: lane and entry of the work queue, the
# error of a try that failed, the dead letter, whether a person asked for it; of an inter frame the
# sequence of the intra frame that it descends from.
SCRIPT_FIELDS = ("work", "last_error", "dead", "requested", "root")


class Lane(StrEnum):
    """Kinds of work, most urgent first."""

    REVIEW = "review"  # a person asks for it
    LIVE = "live"
    BACKFILL = "backfill"  # what a camera sent late


class FrameState(StrEnum):
    """Where a stored frame is on its way."""

    QUEUED = "queued"
    DETECTED = "detected"
    DROPPED = "dropped"  # its deadline passed while it waited
    FAILED = "failed"  # could not be decoded, or killed too many workers (dead letter)


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


_Time = Annotated[int, PlainSerializer(time_of, return_type=datetime)]
_Known = Annotated[  # shown as null where it is 0
    int,
    Field(ge=0),
    PlainSerializer(lambda n: n or None, return_type=Annotated[int, Field(ge=1)] | None),
]
_Scores = Annotated[
    dict[str, float], BeforeValidator(lambda v: json.loads(v) if isinstance(v, str) else v)
]


class StoredFrame(BaseModel):
    """A frame without its bytes. A field's name is that of the Redis field and of the API.

    A field without a default is written with every frame; one with a default only where it
    differs, and frames of builds that did not know it have the default. `exclude=True`: stored, and
    not shown. `serialization_alias`: the API shows it under another name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    frame_id: FrameId = Field(exclude=True)  # in the hash's key
    level: int = Field(ge=0, description="slim level of the base, 0 = narrowest")
    quality: float = Field(ge=0, description="quality of the base, 0 = coarsest, in steps of 1/256")
    image_height: int = Field(ge=1, description="pixels")
    image_width: int = Field(ge=1, description="pixels")
    capture_time_unix_us: _Time = Field(serialization_alias="capture_time")
    """wall clock of the edge, UTC"""
    received_time_unix_us: _Time = Field(serialization_alias="received_time")
    """wall clock of the cloud, UTC"""
    expires_unix_us: int = Field(exclude=True, description="clock of the store; 0 = never")
    lane: Literal[Lane.LIVE, Lane.BACKFILL] = Field(exclude=True)
    """live, or backfill: it came late"""
    base_bytes: int = Field(ge=1, description="container of the base, bytes")
    state: FrameState
    enhancement_bytes: int = Field(default=0, ge=0)
    """container of the enhancement, bytes; 0 = none"""
    enhancement_level: int = Field(default=0, exclude=True)
    """level that the enhancement lifts it to; 0 = none"""
    enhancement_quality: float = Field(default=0, exclude=True)
    """quality that the enhancement lifts it to; 0 = its own"""
    reason: str = Field(default="", description="why it was dropped or failed; else empty")
    label_scores: _Scores = Field(default_factory=dict, serialization_alias="labels")
    """best score of each detected label, 0 to 1"""
    triage: Triage = Field(
        default=Triage.NONE,
        description="quiet: nothing of interest was expected and the detector did not run; sent, "
        "enhanced, fallback: what it was detected from; none: triage was not asked",
    )
    # Set from then on: a frame that waits for its enhancement has it and is still queued.
    presence: float | None = Field(default=None, ge=0, le=1)
    """how sure triage was of anything of interest; null until asked"""
    mark: ReviewMark = ReviewMark.OPEN
    """what the last person who marked it made of it"""
    comments_count: int = Field(default=0, ge=0, description="comments of people")
    traceparent: str = Field(default="", exclude=True)
    """W3C Trace Context of its capture; empty = not traced"""
    stored_us: int = Field(default=0, exclude=True)
    """clock of the store when it was taken; 0 = not known"""
    clock_offset_us: int = Field(default=0, exclude=True)
    """what its camera's wall clock was ahead of the cloud's; 0 = in step"""
    link_bytes_per_second: _Known = Field(
        default=0,
        description="what the camera believed that its link carries when it chose level and "
        "quality, bytes per second; null where it did not say",
    )
    reference_sequence: _Known = Field(
        default=0,
        description="sequence of the frame that its base was coded against, of the same camera and "
        "epoch; null where it was coded alone",
    )
    depth: int = Field(default=0, ge=0, description="frames that must be decoded before it")
    activity: float | None = Field(default=None, ge=0, le=1)
    """share of the picture that changed since its reference; null until decoded, or coded alone"""

    @property
    def image_hw(self) -> tuple[int, int]:
        return self.image_height, self.image_width

    @property
    def reference_id(self) -> FrameId | None:
        """The frame that it needs."""
        sequence = self.reference_sequence
        return replace(self.frame_id, sequence=sequence) if sequence else None

    def reaches(self, level: int, quality: float) -> bool:
        """Whether its picture has a level and quality already; of a frame that was coded against
        another, only what the camera sent on request is known to, in all places.
        """
        if self.reference_sequence and not self.enhancement_bytes:
            return False
        return (
            max(self.level, self.enhancement_level) >= level
            and max(self.quality, self.enhancement_quality) >= quality
        )

    @property
    def coded_as(self) -> Kind:
        if not self.reference_sequence:
            return "intra"
        return "unchanged" if self.activity == 0 else "inter"

    @property
    def captured_us(self) -> int:
        """Capture on the cloud's wall clock, microseconds since 1970."""
        return self.capture_time_unix_us - self.clock_offset_us

    @property
    def taken_us(self) -> int:
        """When it was taken, by the store's clock; an older build did not say, but nearly."""
        return self.stored_us or self.received_time_unix_us

    def waited_us(self, now_us: int) -> int:
        """Microseconds since then."""
        return max(0, now_us - self.taken_us)

    def expired_reason(self, now_us: int) -> str | None:
        """Why it is to be dropped: its deadline has passed by the store's clock; None before."""
        if not 0 < self.expires_unix_us < now_us:
            return None
        return self.reason_of_wait(self.waited_us(now_us))

    @staticmethod
    def reason_of_wait(waited_us: int) -> str:
        """Why a frame whose deadline has passed is dropped, for people."""
        return f"its deadline passed while it waited for {waited_us / 1e6:.3f} s"

    @classmethod
    def names(cls) -> list[str]:
        """The fields of the hash, as HMGET takes them and `read` expects their values."""
        return list(_DEFAULTS)

    @classmethod
    def read(cls, frame_id: FrameId, values: Iterable[object]) -> Self | None:
        """The frame whose fields `names()` are `values`; None where there is no such frame."""
        fields = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in zip(_DEFAULTS, values, strict=True)
            if value not in (None, b"", "")  # empty: a script had nothing to say
        }
        return cls.model_validate({"frame_id": frame_id, **fields}) if "level" in fields else None

    def written(self) -> list[str | float]:
        """Names and values in turn, as HSET takes them."""
        return [
            part
            for name, default in _DEFAULTS.items()
            if (value := getattr(self, name)) != default
            for part in (name, value)
        ]


_DEFAULTS = {
    name: field.get_default(call_default_factory=True)  # or pydantic's word for none
    for name, field in StoredFrame.model_fields.items()
    if name != "frame_id"
}


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
