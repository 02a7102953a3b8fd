"""`/timeline`: how many frames there are when."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from slimcloud.frame_id import CAMERA_ID_PATTERN
from slimcloud.review.context import Context, problems
from slimcloud.review.errors import InvalidTimeSpanError
from slimcloud.review.moments import Moment
from slimcloud.review.routes.gaps import gap_views
from slimcloud.review.schemas import TimelineView
from slimcloud.review.views import API_PREFIX
from slimcloud.wall_clock import time_of, unix_us, unix_us_of

MAX_BUCKETS = 500
MIN_SPAN_US = 1_000_000
MAX_GAPS = 200

router = APIRouter(prefix=API_PREFIX, tags=["timeline"])


class TimelineQuery(BaseModel):
    """Of what to count how many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str | None = Field(
        None, pattern=f"^{CAMERA_ID_PATTERN}$", description="of this camera only"
    )
    from_: Moment | None = Field(
        None, alias="from", description="capture time; the first stored frame's when not given"
    )
    to: Moment | None = Field(
        None, description="capture time; the last stored frame's when not given"
    )
    buckets: int = Field(120, ge=1, le=MAX_BUCKETS, description="parts of the time, of one length")


@router.get("/timeline", responses=problems(400, 422, 503))
async def get_timeline(
    query: Annotated[TimelineQuery, Query()], response: Response, context: Context
) -> TimelineView:
    """Stored frames over time; at least a second is shown."""
    first_us, last_us = await context.store.timeline.span(query.camera) or (unix_us(),) * 2
    to_us = unix_us_of(query.to) if query.to else last_us + 1
    from_us = unix_us_of(query.from_) if query.from_ else min(first_us, to_us - MIN_SPAN_US)
    if from_us >= to_us:
        raise InvalidTimeSpanError(f"it ends at {query.to}, and begins no earlier; swap them")
    from_us = min(from_us, to_us - MIN_SPAN_US)
    counts = await context.store.timeline.count(from_us, to_us, query.buckets, query.camera)
    response.headers["Cache-Control"] = "no-store"
    return TimelineView(
        from_time=time_of(from_us),
        to_time=time_of(to_us),
        frames=list(counts.frames),
        gaps=await gap_views(context.store, query.camera, from_us, to_us, MAX_GAPS),
    )
