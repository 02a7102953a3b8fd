"""`/dead-letters`, `/frames/{id}/detection-request`: what the detector gave up, and another try."""

import logging
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from slimcloud.frame_id import FrameId
from slimcloud.review.context import Caller, Context, problems
from slimcloud.review.errors import DetectionConflictError
from slimcloud.review.views import API_PREFIX
from slimcloud.store.keys import DEAD_LENGTH
from slimcloud.store.work.queue import DeadLetter
from slimcloud.wall_clock import time_of

logger = logging.getLogger(__name__)

router = APIRouter(prefix=API_PREFIX, tags=["dead letters"])


class DeadLetterView(BaseModel):
    """A frame that was given up."""

    model_config = ConfigDict(frozen=True)

    frame: str = Field(description="id of the frame; it may be removed by now")
    frame_url: str
    camera: str
    reason: str = Field(description="for people: how often it was tried and the last error")
    deliveries: int = Field(ge=0, description="how often it was handed to a worker")
    time: datetime = Field(description="when it was given up (RFC 3339, UTC)")


class DeadLetterList(BaseModel):
    """Newest first."""

    model_config = ConfigDict(frozen=True)

    dead_letters: list[DeadLetterView]


class DeadLetterQuery(BaseModel):
    """How many to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(100, ge=1, le=DEAD_LENGTH, description="at most so many")


class DetectionRequestView(BaseModel):
    """A frame that is to be detected because a person asks; `frame_url` tells how it goes."""

    model_config = ConfigDict(frozen=True)

    frame: str
    frame_url: str


@router.get("/dead-letters", responses=problems(422, 503))
async def list_dead_letters(
    query: Annotated[DeadLetterQuery, Query()], response: Response, context: Context
) -> DeadLetterList:
    """Frames that were given up after too many tries; about the last thousand are kept."""
    response.headers["Cache-Control"] = "no-store"
    letters = await context.store.work.dead_letters(query.limit)
    return DeadLetterList(dead_letters=list(map(_view, letters)))


@router.post(
    "/frames/{frame_id}/detection-request",
    status_code=202,
    responses=problems(404, 409, 410, 503),
)
async def request_detection(
    frame_id: str, response: Response, context: Context, caller: Caller
) -> DetectionRequestView:
    """Have a frame detected that was dropped or failed, before everything that is live.

    Its dead letter is taken back; a frame that fails again comes back with another.
    """
    name = FrameId.parse(frame_id)
    if not await context.store.requests.ask(name):
        raise DetectionConflictError(f"frame {name} is detected, or waits for it already")
    logger.info("%s has a frame detected", caller, extra={"frame_id": name})
    url = f"{API_PREFIX}/frames/{name}"
    response.headers["Location"] = url
    response.headers["Cache-Control"] = "no-store"
    return DetectionRequestView(frame=str(name), frame_url=url)


@router.delete(
    "/frames/{frame_id}/detection-request",
    status_code=204,
    responses=problems(404, 409, 410, 503),
)
async def cancel_detection(frame_id: str, context: Context, caller: Caller) -> None:
    """Take such a request back while the frame waits: it leaves the queue."""
    name = FrameId.parse(frame_id)
    if not await context.store.requests.take_back(name):
        raise DetectionConflictError(f"no request to detect frame {name} waits")
    logger.info("%s took a request for detection back", caller, extra={"frame_id": name})


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        frame=str(letter.frame_id),
        frame_url=f"{API_PREFIX}/frames/{letter.frame_id}",
        camera=letter.frame_id.camera_id,
        reason=letter.reason,
        deliveries=letter.deliveries,
        time=time_of(letter.time_unix_us),
    )
