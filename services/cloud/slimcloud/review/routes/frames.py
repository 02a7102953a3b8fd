"""`/frames`: which frames there are, what is known of one, what was seen in it."""

import asyncio
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from slimcloud.frame_id import CAMERA_ID_PATTERN, FrameId
from slimcloud.review.context import ApiContext, Context, problems
from slimcloud.review.moments import Moment
from slimcloud.review.schemas import DetectionsView, FrameList, FrameView
from slimcloud.review.views import API_PREFIX, detections_view, frame_view
from slimcloud.store.records import DetectionResult, FrameFilter, FrameState, ReviewMark
from slimcloud.store.stored_frame import StoredFrame
from slimcloud.wall_clock import unix_us_of

MAX_LIMIT = 200  # frames a page
DEFAULT_LIMIT = 50

router = APIRouter(prefix=f"{API_PREFIX}/frames", tags=["frames"])


class FrameQuery(BaseModel):
    """Which frames to list. A condition that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str | None = Field(
        None, pattern=f"^{CAMERA_ID_PATTERN}$", description="of this camera only"
    )
    from_: Moment | None = Field(
        None, alias="from", description="captured at this time or later (RFC 3339, with its offset)"
    )
    to: Moment | None = Field(
        None, description="captured before this time (RFC 3339, with its offset)"
    )
    label: str | None = Field(
        None, min_length=1, max_length=80, description="with a detection of this label"
    )
    min_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="with a detection, of `label` if that is given, of at least this score",
    )
    mark: ReviewMark | None = Field(None, description="marked so by the last person who did")
    detections: bool = Field(False, description="give the boxes as well")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="frames a page, at most")
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before")

    def frame_filter(self) -> FrameFilter:
        return FrameFilter(
            camera_id=self.camera,
            from_unix_us=unix_us_of(self.from_) if self.from_ else None,
            to_unix_us=unix_us_of(self.to) if self.to else None,
            label=self.label,
            min_score=self.min_score,
            mark=self.mark,
        )


@router.get("", responses=problems(400, 422, 503))
async def list_frames(
    query: Annotated[FrameQuery, Query()], request: Request, response: Response, context: Context
) -> FrameList:
    """Frames by capture time, newest first. `Link: rel="next"` leads to the next page."""
    page = await context.store.list_frames(
        query.frame_filter(), limit=query.limit, cursor=query.cursor
    )
    results = await asyncio.gather(*(_result(context, record) for record in page.frames))
    if page.next_cursor is not None:
        conditions = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
        link = urlencode([*conditions, ("cursor", page.next_cursor)])
        response.headers["Link"] = f'<{request.url.path}?{link}>; rel="next"'
    response.headers["Cache-Control"] = "no-store"
    frames = [
        _view(context, record, result, query.detections)
        for record, result in zip(page.frames, results, strict=True)
    ]
    return FrameList(frames=frames, next_cursor=page.next_cursor)


@router.get("/{frame_id}", responses=problems(404, 410, 422, 503))
async def get_frame(
    frame_id: str,
    response: Response,
    context: Context,
    detections: Annotated[bool, Query(description="give the boxes as well")] = False,
) -> FrameView:
    """One frame, without pixels."""
    record = await context.store.get_frame(FrameId.parse(frame_id))
    response.headers["Cache-Control"] = "no-store"
    return _view(context, record, await _result(context, record), detections)


@router.get("/{frame_id}/detections", responses=problems(404, 410, 503))
async def get_detections(frame_id: str, response: Response, context: Context) -> DetectionsView:
    """What was seen in one frame; an empty list while it waits."""
    record = await context.store.get_frame(FrameId.parse(frame_id))
    response.headers["Cache-Control"] = "no-store"
    return detections_view(record, await _result(context, record))


async def _result(context: ApiContext, record: StoredFrame) -> DetectionResult | None:
    if record.state is not FrameState.DETECTED:
        return None
    return await context.store.get_detections(record.frame_id)


def _view(
    context: ApiContext,
    record: StoredFrame,
    result: DetectionResult | None,
    with_detections: bool,
) -> FrameView:
    return frame_view(
        record,
        result,
        num_levels=context.num_levels,
        decoder_id=context.renderer.reconstructor.decoder_id,
        with_detections=with_detections,
    )
