"""`/frames/{id}/refetch`, `/refetches/{id}`: ask a camera for what a frame left out."""

from fastapi import APIRouter, Response

from slimcloud.frame_id import FrameId
from slimcloud.review.context import Caller, Context, problems
from slimcloud.review.errors import RefetchConflictError
from slimcloud.review.schemas import RefetchView
from slimcloud.review.views import API_PREFIX, refetch_view

RETRY_AFTER_SECONDS = "1"  # to ask how it goes; `refetch.*` and `enhancement.stored` tell at once

router = APIRouter(prefix=API_PREFIX, tags=["refetches"])


@router.post("/frames/{frame_id}/refetch", status_code=202, responses=problems(404, 409, 410, 503))
async def request_refetch(
    frame_id: str, response: Response, context: Context, caller: Caller
) -> RefetchView:
    """Ask for the enhancement of a frame; `Location` tells how it goes.

    Asking again while the request is open gives the same request. While the camera is away the
    request waits for it.
    """
    name = FrameId.parse(frame_id)
    record = await context.store.get_frame(name)
    widest = context.num_levels - 1
    if record.enhancement_level >= widest:
        raise RefetchConflictError(f"the enhancement of frame {name} is stored already")
    if record.level >= widest:
        raise RefetchConflictError(
            f"frame {name} was sent at level {record.level}, the widest; there is no more to get"
        )
    epoch = await context.store.cameras.epoch(name.camera_id)
    if epoch is not None and epoch != name.epoch:
        raise RefetchConflictError(
            f"camera {name.camera_id} has restarted since frame {name} and lost its picture"
        )
    view = refetch_view(await context.store.refetches.request(name, level=widest))
    await context.store.reviews.sharpen(name, caller)
    response.headers["Location"] = view.url
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    response.headers["Cache-Control"] = "no-store"
    return view


@router.get("/refetches/{request_id}", responses=problems(404, 503))
async def get_refetch(request_id: str, response: Response, context: Context) -> RefetchView:
    """How a refetch stands. Requests are forgotten after an hour."""
    response.headers["Cache-Control"] = "no-store"
    return refetch_view(await context.store.refetches.get(request_id))
