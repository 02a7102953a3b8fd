"""`/overview`: what the page needs to begin, in one answer."""

from fastapi import APIRouter, Response

from slimcloud.review.context import Caller, Context, problems
from slimcloud.review.schemas import OverviewView
from slimcloud.review.views import API_PREFIX

router = APIRouter(prefix=API_PREFIX, tags=["overview"])


@router.get("/overview", responses=problems(503))
async def get_overview(response: Response, context: Context, caller: Caller) -> OverviewView:
    """Who you are, what can be seen, and what was counted so far."""
    totals = await context.store.totals()
    response.headers["Cache-Control"] = "no-store"
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
