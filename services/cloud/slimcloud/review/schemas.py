"""What the API answers with: every field with its unit and range."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from slimcloud.store.records import FrameState, RefetchState, ReviewMark
from slimcloud.store.reviews import ReviewKind
from slimcloud.store.stored_frame import StoredFrame

Score = Annotated[float, Field(ge=0, le=1, description="confidence of the detector, 0 to 1")]
Pixels = Annotated[float, Field(description="pixels of the original picture; left and top are 0")]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class LatencyView(_View):
    """Where the time of a frame went. Two wall clocks are compared: the edge's and the cloud's."""

    transport_seconds: float = Field(
        description="seconds from capture (edge clock) to received (cloud clock); may be below 0"
    )
    queue_seconds: float | None = Field(
        description="seconds from received to the start of its batch; null until detected"
    )
    compute_seconds: float | None = Field(
        description="seconds of entropy decoding, feature transform, detection; null until detected"
    )
    total_seconds: float | None = Field(
        description="seconds from capture (edge clock) to detected (cloud clock); null until then"
    )


class BoxView(_View):
    """One detected object."""

    x_min: Pixels
    y_min: Pixels
    x_max: Pixels
    y_max: Pixels
    score: Score
    class_id: int = Field(ge=0, description="index into the detector's names")
    label: str


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class FrameView(StoredFrame):
    """A stored frame, without pixels."""

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True, json_schema_extra=_without_defaults
    )

    id: str = Field(description="camera:epoch:sequence", examples=["gate-1:00000197f3a1b2c3:42"])
    url: str = Field(description="path of this frame")
    image_url: str = Field(
        description="path of its picture as stored now; a better picture gets another path"
    )
    camera: str = Field(description="1-64 characters of [A-Za-z0-9._-]")
    epoch: str = Field(description="start of the edge process, 16 hex digits")
    sequence: int = Field(ge=1, description="counts 1, 2, 3 ... within an epoch")
    bytes_total: int = Field(ge=1, description="base and enhancement, bytes")
    bpp: float = Field(gt=0, description="8 * bytes_total / original pixels, bits per pixel")
    enhanced: bool = Field(description="an enhancement is stored; the picture uses it")
    can_enhance: bool = Field(
        description="a refetch would add channels; the camera may still refuse"
    )
    detections_count: int | None = Field(ge=0, description="boxes stored; null until detected")
    detections: list[BoxView] | None = Field(
        description="the boxes, when asked for with `detections=true`; else null"
    )
    latency: LatencyView


class FrameList(_View):
    """One page of frames, newest capture first."""

    frames: list[FrameView]
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null on the last. A page may be short, even empty, "
        "without being the last"
    )


class DetectionsView(_View):
    """What the detector saw in one frame."""

    frame_id: str
    state: FrameState
    detections: list[BoxView] = Field(description="as stored, empty until detected")
    detector: str | None = Field(description="name/version; null until detected")
    codec: str | None = Field(
        description="name/version of the feature transform's codec; null until detected"
    )
    min_score: float | None = Field(description="detections below it were not stored, 0 to 1")
    batch_size: int | None = Field(description="frames in its batch, this one included")
    detected_time: datetime | None = Field(description="wall clock of the cloud, UTC")


class RefetchView(_View):
    """A request to the camera for the channels that a frame did not send."""

    request_id: str
    url: str = Field(description="path of this request; ask it again while the state is pending")
    frame_id: str
    frame_url: str
    state: RefetchState = Field(
        description="pending: the camera has not been told yet, or is away; sent: it was told; "
        "done: the enhancement is stored and the picture is better; refused: see `detail`"
    )
    detail: str = Field(description="why it was refused; else empty")
    created_time: datetime = Field(description="wall clock of the cloud, UTC")
    sent_time: datetime | None = Field(description="when the camera was told; null until then")
    ended_time: datetime | None = Field(description="when it was done or refused; null until then")


class CameraCondition(StrEnum):
    """How a camera fares."""

    LIVE = "live"  # connected, and frames arrive
    SILENT = "silent"  # connected, and nothing arrived for ten seconds
    OFFLINE = "offline"


class GapView(_View):
    """A time from which a camera could not send what it saw."""

    camera: str
    from_time: datetime = Field(description="wall clock of the edge, UTC")
    to_time: datetime = Field(description="wall clock of the edge, UTC")
    frames_count: int = Field(ge=0, description="frames that were lost; 0 = not known")
    reason: str = Field(description="why, in one word", examples=["spool_full"])
    detail: str = Field(description="why, for people; may be empty")


class CameraView(_View):
    """A camera, and the newest that is known of it."""

    id: str
    state: CameraCondition
    connected: bool
    lag_seconds: float | None = Field(
        description="capture (edge clock) to detected (cloud clock) of its newest detected frame; "
        "null before the first"
    )
    model: str = Field(description="codec that it speaks, name/version")
    connected_time: datetime = Field(
        description="start of its newest stream, wall clock of the cloud, UTC"
    )
    last_frame_id: str | None
    last_received_time: datetime | None = Field(description="wall clock of the cloud, UTC")
    frames_total: int = Field(ge=0, description="frames stored since it was first seen")
    bytes_total: int = Field(ge=0, description="their base containers, bytes")
    bytes_today: int = Field(
        ge=0, description="containers received since midnight UTC, bytes; enhancements included"
    )
    gaps: list[GapView] = Field(description="its newest gaps, newest first; at most 10")
    level: int = Field(ge=0, description="of its newest frame")
    quality: float = Field(ge=0, description="of its newest frame")
    deadline_seconds: float | None = Field(
        gt=0, description="capture to detection that it aims for; null where it has none"
    )


class CameraList(_View):
    """Every camera ever seen."""

    cameras: list[CameraView]


class ReviewView(_View):
    """What one person did with one frame; never changed."""

    id: str
    url: str = Field(description="path of this record")
    time: datetime = Field(description="clock of the store, UTC, milliseconds exact")
    frame_id: str
    frame_url: str
    reviewer: str = Field(description="who, by the name of the token, or the address without one")
    kind: ReviewKind = Field(
        description="look: was shown the picture; sharpen: had the camera asked for more; note: "
        "marked or commented"
    )
    level: int | None = Field(
        ge=0, description="of a look: the widest level that the picture was made of"
    )
    mark: ReviewMark | None = Field(description="of a note; null leaves the mark as it was")
    comment: str = Field(description="of a note; empty says nothing")


class ReviewList(_View):
    """Review records."""

    reviews: list[ReviewView]
    next_cursor: str | None = Field(description="as in FrameList")


class TimelineView(_View):
    """How many frames there are when, and what is missing."""

    from_time: datetime = Field(description="begin of the first bucket, capture time, UTC")
    to_time: datetime = Field(description="end of the last bucket, capture time, UTC")
    frames: list[int] = Field(description="frames captured in each of the equal buckets")
    gaps: list[GapView] = Field(description="that reach into this time, newest first; at most 200")


class OverviewView(_View):
    """What the page needs to begin."""

    reviewer: str = Field(description="the name under which your reviews are recorded")
    labels: list[str] = Field(description="what the detector can see, by class id")
    num_levels: int = Field(ge=1, description="slim levels of the codec")
    frames_total: int = Field(ge=0, description="frames stored since the store was made")
    detected_total: int = Field(ge=0, description="of these, frames that were detected")
    received_bytes_total: int = Field(
        ge=0, description="containers stored since the store was made, bytes"
    )
    stored_bytes: int = Field(ge=0, description="containers held now, bytes")
    removed_total: int = Field(ge=0, description="frames that retention removed")


class EventView(_View):
    """`data` of one server-sent event; its `event` is the kind, its `id` fits Last-Event-ID."""

    camera: str
    frame_id: str | None
    detail: str = Field(description="request id, connection id or reason, by kind")


class HealthView(_View):
    """A probe's answer."""

    ok: bool
