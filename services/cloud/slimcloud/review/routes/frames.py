"""`/frames`: which frames there are, what is known of one, what was seen in it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AliasPath, ConfigDict, Field

from slimcloud.frame_id import FrameId
from slimcloud.review.errors import problems
from slimcloud.review.pictures.reconstruct import image_version
from slimcloud.review.resource import (
    API_PREFIX,
    ApiContext,
    BaseView,
    CameraId,
    Context,
    Cursor,
    Frame,
    Moment,
    QueryModel,
    Text,
    Time,
    link_next,
    url_of,
)
from slimcloud.store.cameras.registry import Originals
from slimcloud.store.listing import FrameFilter
from slimcloud.store.records import DetectionResult, FrameState, ReviewMark, StoredFrame
from slimcloud.wall_clock import time_of, unix_us, unix_us_of
from slimcodec.symbols import Kind

MAX_LIMIT = 200  # frames a page

router = APIRouter(prefix=f"{API_PREFIX}/frames", tags=["frames"])

_Score = Annotated[float, Field(ge=0, le=1, description="confidence of the detector, 0 to 1")]
_Pixels = Annotated[float, Field(description="pixels of the original picture; left and top are 0")]


class FrameQuery(QueryModel):
    """Which frames to list."""

    camera: CameraId | None = Field(None, description="of this camera only")
    from_: Moment | None = Field(None, alias="from")
    """captured at this time or later (RFC 3339, with its offset)"""
    to: Moment | None = None
    """captured before this time (RFC 3339, with its offset)"""
    label: str | None = Field(None, min_length=1, max_length=80)
    """with a detection of this label of the detector"""
    min_score: float | None = Field(None, ge=0, le=1)
    """with a detection, of `label` if that is given, of at least this score"""
    mark: ReviewMark | None = Field(None, description="marked so by the last person who did")
    detections: bool = Field(False, description="give the boxes as well")
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="frames a page, at most")
    cursor: Cursor = None

    def frame_filter(self) -> FrameFilter:
        return FrameFilter(
            camera_id=self.camera,
            from_unix_us=unix_us_of(self.from_) if self.from_ else None,
            to_unix_us=unix_us_of(self.to) if self.to else None,
            label=self.label,
            min_score=self.min_score,
            mark=self.mark,
        )


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


# A default is what a field is until something is known; the API tells every field each time.
_ALL_TOLD = ConfigDict(
    json_schema_serialization_defaults_required=True, json_schema_extra=_without_defaults
)


class LatencyView(BaseView):
    """Where the time of a frame went. Two wall clocks are compared: the edge's and the cloud's;
    where they are out of step, the difference that was measured is taken off.
    """

    model_config = _ALL_TOLD

    transport_seconds: float
    """seconds from capture (edge clock) to received (cloud clock)"""
    queue_seconds: float | None = None
    """seconds from received to the start of its batch; null until detected"""
    compute_seconds: float | None = None
    """seconds of entropy decoding, feature transform, detection; null until detected"""
    total_seconds: float | None = None
    """seconds from capture (edge clock) to detected (cloud clock); null until then"""

    @classmethod
    def of(cls, frame: StoredFrame, result: DetectionResult | None) -> Self:
        transport_seconds = max(0, frame.received_time_unix_us - frame.captured_us) / 1e6
        if result is None:
            return cls(transport_seconds=transport_seconds)
        return cls(
            transport_seconds=transport_seconds,
            queue_seconds=result.queue_seconds,
            compute_seconds=result.compute_seconds,
            total_seconds=max(0, result.detected_time_unix_us - frame.captured_us) / 1e6,
        )


class BoxView(BaseView):
    """One detected object."""

    x_min: _Pixels = Field(validation_alias=AliasPath("box_xyxy", 0))
    y_min: _Pixels = Field(validation_alias=AliasPath("box_xyxy", 1))
    x_max: _Pixels = Field(validation_alias=AliasPath("box_xyxy", 2))
    y_max: _Pixels = Field(validation_alias=AliasPath("box_xyxy", 3))
    score: _Score
    class_id: int = Field(ge=0, description="index into the detector's names")
    label: str


class FrameView(StoredFrame):
    """A stored frame, without pixels."""

    model_config = _ALL_TOLD

    id: str = Field(description="camera:epoch:sequence", examples=["gate-1:00000197f3a1b2c3:42"])
    url: str = Field(description="path of this frame")
    image_url: str
    """path of its picture as stored now; a better picture gets another path"""
    preview_url: str | None
    """path of a small picture that takes no network; null where the codec has none"""
    camera: str = Field(description="1-64 characters of [A-Za-z0-9._-]")
    epoch: str = Field(description="start of the edge process, 16 hex digits")
    sequence: int = Field(ge=1, description="counts 1, 2, 3 ... within an epoch")
    kind: Kind = Field(
        description="intra: coded alone; inter: as what changed since its reference; unchanged: "
        "nothing had"
    )
    bytes_total: int = Field(ge=1, description="base and enhancement, bytes")
    bpp: float = Field(gt=0, description="8 * bytes_total / original pixels, bits per pixel")
    enhanced: bool = Field(description="an enhancement is stored; the picture uses it")
    can_enhance: bool
    """a refetch would make the picture better; the camera may still refuse"""
    enhance_until: datetime | None
    """about when the camera forgets the picture, or did; null: not known, or no better is to get"""
    detections_count: int | None = Field(ge=0, description="boxes stored; null until detected")
    detections: list[BoxView] | None
    """the boxes, when asked for with `detections=true`; else null"""
    latency: LatencyView


class FrameList(BaseView):
    """One page of frames, newest capture first."""

    frames: list[FrameView]
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null on the last. A page may be short, even empty, "
        "without being the last"
    )


class DetectionsView(BaseView):
    """What the detector saw in one frame."""

    model_config = _ALL_TOLD

    frame_id: Text
    state: FrameState
    detections: list[BoxView] = Field([], description="as stored, empty until detected")
    detector: str | None = Field(None, description="name/version; null until detected")
    codec: str | None = None
    """name/version of the feature transform's codec; null until detected"""
    min_score: float | None = Field(None, description="detections below it were not stored, 0 to 1")
    batch_size: int | None = Field(None, description="frames in its batch, this one included")
    detected_time: Time | None = Field(None, validation_alias="detected_time_unix_us")
    """wall clock of the cloud, UTC"""


def _boxes(result: DetectionResult | None) -> list[BoxView]:
    return [BoxView.model_validate(found) for found in (result.detections if result else ())]


@router.get("", responses=problems(400, 422, 503))
async def list_frames(
    query: Annotated[FrameQuery, Query()], request: Request, response: Response, context: Context
) -> FrameList:
    """Frames by capture time, newest first. `Link: rel="next"` leads to the next page."""
    refuse_unknown_labels(context, [query.label] if query.label is not None else [])
    page = await context.store.index.page(
        query.frame_filter(), limit=query.limit, cursor=query.cursor
    )
    frames = await view_frames(context, page.records, query.detections)
    link_next(request, response, page.next_cursor)
    return FrameList(frames=frames, next_cursor=page.next_cursor)


def refuse_unknown_labels(context: ApiContext, labels: Iterable[str]) -> None:
    """Raise RequestValidationError for a label of a query that the detector does not know."""
    for label in labels:
        if label not in context.names:
            close = get_close_matches(label, context.names, n=1)
            hint = f"did you mean {close[0]}?" if close else "`/overview` tells all that there are"
            problem = f"the detector knows no label {label}; {hint}"
            raise RequestValidationError([{"loc": ("query", "label"), "msg": problem}])


@router.get("/{frame_id}", responses=problems(404, 410, 422, 503))
async def get_frame(
    frame: Frame,
    context: Context,
    detections: Annotated[bool, Query(description="give the boxes as well")] = False,
) -> FrameView:
    """One frame, without pixels."""
    return await view_frame(context, frame, with_detections=detections)


@router.get("/{frame_id}/detections", responses=problems(404, 410, 503))
async def get_detections(frame: Frame, context: Context) -> DetectionsView:
    """What was seen in one frame; an empty list while it waits."""
    record = await context.store.get_frame(frame)
    result = await _result(context, record)
    found = asdict(result) if result else {}
    return DetectionsView.model_validate({**found, "frame_id": frame, "state": record.state})


async def _result(context: ApiContext, record: StoredFrame) -> DetectionResult | None:
    if record.state is not FrameState.DETECTED:
        return None
    return await context.store.get_detections(record.frame_id)


async def view_frame(context: ApiContext, frame: FrameId, *, with_detections: bool) -> FrameView:
    """What is told of one frame; raises as `Store.get_frame`."""
    (view,) = await view_frames(context, [await context.store.get_frame(frame)], with_detections)
    return view


async def view_frames(
    context: ApiContext, frames: Sequence[StoredFrame], with_detections: bool
) -> list[FrameView]:
    cameras = {frame.frame_id.camera_id for frame in frames}
    kept = await context.store.cameras.originals(cameras)
    return await asyncio.gather(
        *(
            _view(context, frame, kept.get(frame.frame_id.camera_id), with_detections)
            for frame in frames
        )
    )


async def _view(
    context: ApiContext, frame: StoredFrame, kept: Originals | None, with_detections: bool
) -> FrameView:
    result = await _result(context, frame)
    frame_id, url = frame.frame_id, url_of("frames", frame.frame_id)
    decoder_id = context.renderer.reconstructor.decoder_id
    version = image_version(frame_id, frame.base_bytes, frame.enhancement_bytes, decoder_id)
    bytes_total = frame.base_bytes + frame.enhancement_bytes
    is_best = frame.reaches(context.num_levels - 1, context.sharp_quality)
    until_us = 0 if is_best or kept is None else kept.until_us(frame)
    return FrameView(
        **dict(frame),
        id=str(frame_id),
        url=url,
        image_url=f"{url}/image?version={version}",
        preview_url=f"{url}/preview?version={version}" if context.previews else None,
        camera=frame_id.camera_id,
        epoch=frame_id.epoch_hex,
        sequence=frame_id.sequence,
        kind=frame.coded_as,
        bytes_total=bytes_total,
        bpp=8 * bytes_total / (frame.image_height * frame.image_width),
        enhanced=frame.enhancement_bytes > 0,
        can_enhance=not is_best and not 0 < until_us <= unix_us(),
        enhance_until=time_of(until_us) if until_us else None,
        detections_count=len(result.detections) if result else None,
        detections=_boxes(result) if with_detections else None,
        latency=LatencyView.of(frame, result),
    )
