"""`/events`: what objects did, as people review it; its pictures outlive its frames."""

import logging
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from slimcloud.chain import CodedFrame
from slimcloud.errors import FrameGoneError, FrameNotFoundError
from slimcloud.events.event import Event, EventState
from slimcloud.review.errors import problems
from slimcloud.review.resource import (
    API_PREFIX,
    ApiContext,
    BaseView,
    Caller,
    CameraId,
    Context,
    Cursor,
    Moment,
    QueryModel,
    Text,
    Time,
    TimeOrNone,
    link_next,
)
from slimcloud.review.routes.frames import FrameList, refuse_unknown_labels, view_frames
from slimcloud.review.routes.images import PREVIEW_ANSWERS, answer_preview, load_coded
from slimcloud.store.events.event_index import EventFilter
from slimcloud.wall_clock import unix_us, unix_us_of
from slimcloud.zones.rules import Severity

logger = logging.getLogger(__name__)

MAX_LIMIT = 200  # events a page
MAX_MOMENTS = 12
MAX_MARKED = 500  # events at once

router = APIRouter(prefix=f"{API_PREFIX}/events", tags=["events"])

_Share = Annotated[float, Field(ge=0, le=1)]


class EventConditions(QueryModel):
    """Which events; of a kind that is given more than once, one must hold."""

    camera: list[CameraId] = Field([], max_length=100, description="of this camera")
    label: list[str] = Field([], max_length=100, description="with an object that is called so")
    zone: list[str] = Field([], max_length=100, description="with an object in this zone")
    severity: list[Severity] = Field([], max_length=100, description="so urgent")
    state: EventState | None = None
    """active: something moves; resting: what came is there still, and stands; ended"""
    reviewed: bool | None = Field(None, description="marked as reviewed, or not")
    since: Moment | None = None
    """that began at this time or later (RFC 3339, with its offset)"""
    until: Moment | None = None
    """that began before this time (RFC 3339, with its offset)"""

    def event_filter(self, context: ApiContext) -> EventFilter:
        """Refuses labels that the detector does not know."""
        refuse_unknown_labels(context, self.label)
        return EventFilter(
            self.camera,
            self.label,
            self.zone,
            self.severity,
            self.state,
            self.reviewed,
            unix_us_of(self.since) if self.since else None,
            unix_us_of(self.until) if self.until else None,
        )


class EventQuery(EventConditions):
    """Which events to list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="events a page, at most")
    cursor: Cursor = None


class EventView(BaseView):
    """What one or several objects of one camera did together."""

    event_id: str
    camera: str
    labels: list[str] = Field(description="what its objects are called, the most certain first")
    zones: list[str] = Field(description="that they were in, in order of entry")
    begin: Time = Field(validation_alias="begin_us", description="capture time, UTC")
    end: TimeOrNone = Field(validation_alias="end_us", description="null while it goes on")
    severity: Severity
    state: EventState = Field(
        description="active: something moves; resting: what came is there still, and stands; ended"
    )
    objects: int = Field(ge=0, description="how many; one that was lost from sight counts again")
    score: _Share = Field(description="the highest of any detection")
    best_frame_id: Text
    best_box: tuple[_Share, _Share, _Share, _Share]
    """of one object in that frame: left, top, right, bottom, of a picture of width and height 1"""
    path: list[tuple[_Share, _Share]]
    """where that object stood, the middle of its box's lower edge; at most 32 points"""
    reviewed: bool
    late: bool = Field(description="made of frames that came late: for the record")


def event_document(event: Event) -> dict[str, Any]:
    """What is told of an event, in JSON."""
    return EventView.model_validate(event).model_dump(mode="json")


class EventList(BaseView):
    """One page of events, newest begin first."""

    events: list[EventView] = Field(validation_alias="records")
    next_cursor: str | None = Field(description="as in FrameList")


class EventCountsView(BaseView):
    """Events by what they have; of the newest 5,000 of that time."""

    labels: dict[str, int]
    zones: dict[str, int]
    cameras: dict[str, int]
    severities: dict[str, int]
    unreviewed: int = Field(ge=0)


class EventMarks(BaseModel):
    """Which events are reviewed now, or not after all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_ids: list[str] = Field(min_length=1, max_length=MAX_MARKED)
    reviewed: bool = Field(strict=True)


class MarkedEvents(BaseView):
    """Those of the events that there are."""

    event_ids: list[str]


def _lead_to_feed(
    request: Request, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> None:
    """For clients that knew the feed under the name of the list."""
    if "text/event-stream" in accept:
        headers = {"Location": f"events/stream?{request.url.query}"}  # below any path
        raise HTTPException(HTTPStatus.TEMPORARY_REDIRECT, "the feed is there", headers)


@router.get("", responses=problems(400, 422, 503), dependencies=[Depends(_lead_to_feed)])
async def list_events(
    query: Annotated[EventQuery, Query()], request: Request, response: Response, context: Context
) -> EventList:
    """Events, newest first. `Link: rel="next"` leads to the next page."""
    page = await context.store.event_index.page(
        query.event_filter(context), limit=query.limit, cursor=query.cursor
    )
    link_next(request, response, page.next_cursor)
    return EventList.model_validate(page)


@router.get("/counts", responses=problems(422, 503))
async def count_events(
    query: Annotated[EventConditions, Query()], context: Context
) -> EventCountsView:
    """How many there are of what."""
    counts = await context.store.event_index.counts(query.event_filter(context))
    return EventCountsView.model_validate(counts)


@router.put("/review", responses=problems(400, 413, 422, 503))
async def mark_events(marks: EventMarks, context: Context, caller: Caller) -> MarkedEvents:
    """Mark events as reviewed, or take that back; nothing else is marked by it."""
    index = context.store.event_index
    found = await index.review(marks.event_ids, caller, reviewed=marks.reviewed)
    for event_id in found:
        logger.info("%s says of event %s: reviewed %s", caller, event_id, marks.reviewed)
    return MarkedEvents(event_ids=found)


@router.get("/{event_id}", responses=problems(404, 503))
async def get_event(event_id: str, context: Context) -> EventView:
    """One event."""
    return EventView.model_validate(await context.store.event_index.get(event_id))


@router.get("/{event_id}/moments", responses=problems(404, 422, 503))
async def get_moments(
    event_id: str,
    context: Context,
    detections: Annotated[bool, Query(description="give the boxes as well")] = False,
) -> FrameList:
    """Up to 12 frames of its time that are stored still, oldest first."""
    event = await context.store.event_index.get(event_id)
    frames = await context.store.index.spread(
        event.camera, event.begin_us, (event.end_us or unix_us()) + 1, MAX_MOMENTS
    )
    return FrameList(frames=await view_frames(context, frames, detections), next_cursor=None)


@router.get("/{event_id}/preview", response_class=Response, responses=PREVIEW_ANSWERS)
async def get_event_preview(
    event_id: str,
    request: Request,
    context: Context,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Its best frame as `/frames/{id}/preview` shows it, also when that frame is gone."""
    event = await context.store.event_index.get(event_id)
    coded = await _best_frame(context, event)
    return await answer_preview(request, context, coded, "no-cache", if_none_match)


async def _best_frame(context: ApiContext, event: Event) -> CodedFrame:
    try:
        return await load_coded(context, event.best_frame_id)
    except (FrameGoneError, FrameNotFoundError):
        kept = await context.store.event_index.picture(event.event_id)
        if not kept:  # its frame was gone before it could be kept
            raise
        *chain, (frame_id, base) = kept
        return CodedFrame(base, None, frame_id, tuple(chain))
