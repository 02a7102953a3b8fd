"""What the API answers with: every field with its unit and range."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slimcloud.records import FrameState, Triage

__all__ = [
    "BoxView",
    "CameraList",
    "CameraView",
    "DetectionsView",
    "EventView",
    "FrameList",
    "FrameView",
    "HealthView",
    "LatencyView",
    "RefetchView",
]

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


class FrameView(_View):
    """A stored frame, without pixels."""

    id: str = Field(description="camera:epoch:sequence", examples=["gate-1:00000197f3a1b2c3:42"])
    url: str = Field(description="path of this frame")
    image_url: str = Field(
        description="path of its picture as stored now; a better picture gets another path"
    )
    camera: str = Field(description="1-64 characters of [A-Za-z0-9._-]")
    epoch: str = Field(description="start of the edge process, 16 hex digits")
    sequence: int = Field(ge=1, description="counts 1, 2, 3 ... within an epoch")
    capture_time: datetime = Field(description="wall clock of the edge, UTC")
    received_time: datetime = Field(description="wall clock of the cloud, UTC")
    state: FrameState
    reason: str = Field(description="why it was dropped or failed; else empty")
    level: int = Field(ge=0, description="slim level of the base, 0 = narrowest")
    quality: float = Field(ge=0, description="quality of the base, 0 = coarsest, in steps of 1/256")
    image_height: int = Field(ge=1, description="pixels")
    image_width: int = Field(ge=1, description="pixels")
    base_bytes: int = Field(ge=1, description="container of the base, bytes")
    enhancement_bytes: int = Field(
        ge=0, description="container of the enhancement, bytes; 0 = none"
    )
    bytes_total: int = Field(ge=1, description="base and enhancement, bytes")
    bpp: float = Field(gt=0, description="8 * bytes_total / original pixels, bits per pixel")
    enhanced: bool = Field(description="an enhancement is stored; the picture uses it")
    can_enhance: bool = Field(
        description="a refetch would add channels; the camera may still refuse"
    )
    triage: Triage = Field(
        description="quiet: nothing of interest was expected and the detector did not run; sent, "
        "enhanced, fallback: what it was detected from; none: triage was not asked"
    )
    presence: float | None = Field(
        ge=0, le=1, description="how sure triage was of anything of interest; null until asked"
    )
    labels: dict[str, float] = Field(description="best score of each detected label, 0 to 1")
    detections_count: int | None = Field(description="boxes stored; null until detected")
    latency: LatencyView


class FrameList(_View):
    """One page of frames, newest capture first."""

    frames: list[FrameView]
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null on the last. A page may be short, even empty, "
        "without being the last"
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
    state: Literal["pending", "done", "refused"] = Field(
        description="done: the enhancement is stored and the picture is better"
    )
    detail: str = Field(description="why it was refused; else empty")
    created_time: datetime = Field(description="wall clock of the cloud, UTC")


class CameraView(_View):
    """A camera, and the newest that is known of it."""

    id: str
    connected: bool
    model: str = Field(description="codec that it speaks, name/version")
    connected_time: datetime = Field(
        description="start of its newest stream, wall clock of the cloud, UTC"
    )
    last_frame_id: str | None
    last_received_time: datetime | None = Field(description="wall clock of the cloud, UTC")
    frames_total: int = Field(ge=0, description="frames stored since it was first seen")
    bytes_total: int = Field(ge=0, description="their base containers, bytes")
    level: int = Field(ge=0, description="of its newest frame")
    quality: float = Field(ge=0, description="of its newest frame")


class CameraList(_View):
    """Every camera ever seen."""

    cameras: list[CameraView]


class EventView(_View):
    """`data` of one server-sent event; its `event` is the kind, its `id` fits Last-Event-ID."""

    camera: str
    frame_id: str | None
    detail: str = Field(description="request id, connection id or reason, by kind")


class HealthView(_View):
    """A probe's answer."""

    ok: bool
