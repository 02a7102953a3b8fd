"""`/dead-letters`, `/frames/{id}/detection-request`: what the detector gave up, and another try."""

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AliasPath, Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import (
    API_PREFIX,
    BaseView,
    Caller,
    Context,
    Frame,
    FrameUrl,
    QueryModel,
    Text,
    Time,
    url_of,
)
from slimcloud.store.keys import DEAD_LENGTH

logger = logging.getLogger(__name__)

router = APIRouter(prefix=API_PREFIX, tags=["dead letters"])


class DeadLetterView(BaseView):
    """A frame that was given up."""

    frame: Text = Field(validation_alias="frame_id")
    """id of the frame; it may be removed by now"""
    frame_url: FrameUrl = Field(validation_alias="frame_id")
    camera: str = Field(validation_alias=AliasPath("frame_id", "camera_id"))
    reason: str = Field(description="for people: how often it was tried and the last error")
    deliveries: int = Field(ge=0, description="how often it was handed to a worker")
    time: Time = Field(validation_alias="time_unix_us")
    """when it was given up (RFC 3339, UTC)"""


class DeadLetterList(BaseView):
    """Newest first."""

    dead_letters: list[DeadLetterView]


class DeadLetterQuery(QueryModel):
    """How many to list."""

    limit: int = Field(100, ge=1, le=DEAD_LENGTH, description="at most so many")


class DetectionRequestView(BaseView):
    """A frame that is to be detected because a person asks; `frame_url` tells how it goes."""

    frame: str
    frame_url: str


@router.get("/dead-letters", responses=problems(422, 503))
async def list_dead_letters(
    query: Annotated[DeadLetterQuery, Query()], context: Context
) -> DeadLetterList:
    """Frames that were given up after too many tries; about the last thousand are kept."""
    letters = await context.store.work.dead_letters(query.limit)
    return DeadLetterList(dead_letters=list(map(DeadLetterView.model_validate, letters)))


@router.post(
    "/frames/{frame_id}/detection-request", status_code=202, responses=problems(404, 409, 410, 503)
)
async def request_detection(
    frame: Frame, response: Response, context: Context, caller: Caller
) -> DetectionRequestView:
    """Have a frame detected that was dropped or failed, before everything that is live.

    Its dead letter is taken back; a frame that fails again comes back with another.
    """
    if not await context.store.request_detection(frame):
        raise _conflict(f"frame {frame} is detected, or waits for it already")
    logger.info("%s has a frame detected", caller, extra={"frame_id": frame})
    url = response.headers["Location"] = url_of("frames", frame)
    return DetectionRequestView(frame=str(frame), frame_url=url)


@router.delete(
    "/frames/{frame_id}/detection-request", status_code=204, responses=problems(404, 409, 410, 503)
)
async def cancel_detection(frame: Frame, context: Context, caller: Caller) -> None:
    """Take such a request back while the frame waits: it leaves the queue."""
    if not await context.store.cancel_detection(frame):
        raise _conflict(f"no request to detect frame {frame} waits")
    logger.info("%s took a request for detection back", caller, extra={"frame_id": frame})


def _conflict(detail: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "detection-conflict", detail)
