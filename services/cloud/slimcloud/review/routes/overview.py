"""`/overview`, `/timeline`: what the page needs to begin, and how many frames there are when."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import (
    API_PREFIX,
    BaseView,
    Caller,
    CameraId,
    Context,
    Moment,
    QueryModel,
)
from slimcloud.review.routes.cameras import GapView
from slimcloud.wall_clock import time_of, unix_us, unix_us_of

MAX_BUCKETS = 500
MIN_SPAN_US = 1_000_000
MAX_GAPS = 200

router = APIRouter(prefix=API_PREFIX)


class OverviewView(BaseView):
    """What the page needs to begin."""

    reviewer: str = Field(description="the name under which your reviews are recorded")
    labels: list[str] = Field(description="what the detector can see, by class id")
    num_levels: int = Field(ge=1, description="slim levels of the codec")
    frames_total: int = Field(ge=0, description="frames stored since the store was made")
    detected_total: int = Field(ge=0, description="of these, frames that were detected")
    received_bytes_total: int = Field(ge=0)
    """containers stored since the store was made, bytes"""
    stored_bytes: int = Field(ge=0, description="containers and results held now, bytes")
    removed_total: int = Field(ge=0, description="frames that retention removed")


class TimelineView(BaseView):
    """How many frames there are when, and what is missing."""

    from_time: datetime = Field(description="begin of the first bucket, capture time, UTC")
    to_time: datetime = Field(description="end of the last bucket, capture time, UTC")
    frames: list[int] = Field(description="frames captured in each of the equal buckets")
    activity: list[Annotated[float, Field(ge=0, le=1)] | None]
    """share of the picture that changed, mean of eight frames of each bucket; null if not known"""
    gaps: list[GapView] = Field(description="that reach into this time, newest first; at most 200")


class TimelineQuery(QueryModel):
    """Of what to count how many."""

    camera: CameraId | None = Field(None, description="of this camera only")
    from_: Moment | None = Field(None, alias="from")
    """capture time; the first stored frame's when not given"""
    to: Moment | None = None
    """capture time; the last stored frame's when not given"""
    buckets: int = Field(120, ge=1, le=MAX_BUCKETS, description="parts of the time, of one length")


@router.get("/overview", tags=["overview"], responses=problems(503))
async def get_overview(context: Context, caller: Caller) -> OverviewView:
    """Who you are, what can be seen, and what was counted so far."""
    totals = await context.store.totals()
    return OverviewView(
        reviewer=caller,
        labels=list(context.names),
        num_levels=context.num_levels,
        frames_total=totals.frames,
        detected_total=totals.detected,
        received_bytes_total=totals.frame_bytes + totals.enhancement_bytes,
        stored_bytes=totals.stored_bytes,
        removed_total=totals.removed,
    )


@router.get("/timeline", tags=["timeline"], responses=problems(400, 422, 503))
async def get_timeline(query: Annotated[TimelineQuery, Query()], context: Context) -> TimelineView:
    """Stored frames over time; at least a second is shown."""
    store = context.store
    first_us, last_us = await store.index.span(query.camera) or (unix_us(),) * 2
    to_us = unix_us_of(query.to) if query.to else last_us + 1
    from_us = unix_us_of(query.from_) if query.from_ else min(first_us, to_us - MIN_SPAN_US)
    if from_us >= to_us:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "invalid-time-span",
            f"it ends at {query.to}, and begins no earlier; swap them",
        )
    from_us = min(from_us, to_us - MIN_SPAN_US)
    counts = await store.index.count(from_us, to_us, query.buckets, query.camera)
    activity = await store.index.activity(from_us, to_us, query.buckets, query.camera)
    gaps = await store.gaps.list(
        query.camera, from_unix_us=from_us, to_unix_us=to_us, limit=MAX_GAPS
    )
    return TimelineView(
        from_time=time_of(from_us),
        to_time=time_of(to_us),
        frames=counts,
        activity=activity,
        gaps=list(map(GapView.model_validate, gaps)),
    )
