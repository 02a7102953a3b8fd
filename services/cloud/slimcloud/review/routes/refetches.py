"""`/frames/{id}/refetch`, `/refetches/{id}`: ask a camera for what a frame left out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BeforeValidator, Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import (
    API_PREFIX,
    BaseView,
    Caller,
    Context,
    Frame,
    FrameUrl,
    Text,
    Time,
    TimeOrNone,
    url_of,
)
from slimcloud.store.cameras.refetches import RefetchState
from slimcloud.store.reviews import ReviewKind
from slimcloud.wall_clock import unix_us

RETRY_AFTER_SECONDS = "1"  # to ask how it goes; `refetch.*` and `enhancement.stored` tell at once

router = APIRouter(prefix=API_PREFIX, tags=["refetches"])


class RefetchView(BaseView):
    """A request to the camera for the channels that a frame did not send."""

    request_id: str
    url: Annotated[str, BeforeValidator(lambda name: url_of("refetches", name))] = Field(
        validation_alias="request_id"
    )
    """path of this request; ask it again while the state is pending"""
    frame_id: Text
    frame_url: FrameUrl = Field(validation_alias="frame_id")
    state: RefetchState = Field(
        description="pending: the camera has not been told yet, or is away; sent: it was told; "
        "done: the enhancement is stored and the picture is better; refused: see `detail`"
    )
    detail: str = Field(description="why it was refused; else empty")
    created_time: Time = Field(validation_alias="created_time_unix_us")
    """wall clock of the cloud, UTC"""
    sent_time: TimeOrNone = Field(validation_alias="sent_time_unix_us")
    """when the camera was told; null until then"""
    ended_time: TimeOrNone = Field(validation_alias="ended_time_unix_us")
    """when it was done or refused; null until then"""


@router.post("/frames/{frame_id}/refetch", status_code=202, responses=problems(404, 409, 410, 503))
async def request_refetch(
    frame: Frame, response: Response, context: Context, caller: Caller
) -> RefetchView:
    """Ask for the enhancement of a frame; `Location` tells how it goes.

    Asking again while the request is open gives the same request. While the camera is away the
    request waits for it.
    """
    record = await context.store.get_frame(frame)
    widest = context.num_levels - 1
    if record.reaches(widest, context.sharp_quality):
        if record.enhancement_bytes:
            raise _conflict(f"the enhancement of frame {frame} is stored already")
        raise _conflict(
            f"frame {frame} was sent at level {record.level}, the widest, and at quality "
            f"{record.quality:g}; there is no more to get"
        )
    kept = (await context.store.cameras.originals([frame.camera_id])).get(frame.camera_id)
    if kept is not None and kept.epoch != frame.epoch:
        raise _conflict(
            f"camera {frame.camera_id} has restarted since frame {frame} and lost its picture"
        )
    if kept is not None and 0 < kept.until_us(record) <= unix_us():
        raise _conflict(
            f"camera {frame.camera_id} keeps pictures for {kept.seconds} s and has that of frame "
            f"{frame} no more; more EDGE_RING_BYTES keep them for longer"
        )
    asked = await context.store.refetches.request(
        frame, level=widest, quality=context.sharp_quality
    )
    view = RefetchView.model_validate(asked)
    await context.store.reviews.add(frame, caller, ReviewKind.SHARPEN)
    response.headers["Location"] = view.url
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return view


@router.get("/refetches/{request_id}", responses=problems(404, 503))
async def get_refetch(request_id: str, context: Context) -> RefetchView:
    """How a refetch stands. Requests are forgotten after an hour."""
    return RefetchView.model_validate(await context.store.refetches.get(request_id))


def _conflict(detail: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "refetch-conflict", detail)
