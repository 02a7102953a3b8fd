"""`/events/stream`: what happens, as server-sent events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field

from slimcloud.errors import EventNotFoundError, FrameGoneError, FrameNotFoundError
from slimcloud.frame_id import FrameId
from slimcloud.review.errors import problems
from slimcloud.review.resource import API_PREFIX, ApiContext, BaseView, Context, TextOrNone
from slimcloud.review.routes.events import EventView
from slimcloud.review.routes.frames import FrameView, view_frame
from slimcloud.store.feed import FeedKind

RECONNECT_MILLISECONDS = 2000  # told to the client; the unit is that of the standard
_ENTRY_ID_PATTERN = r"^\d{1,19}(-\d{1,19})?$"  # of a Redis stream; 19 digits stay below 2**64
_OF_EVENTS = (FeedKind.EVENT_BEGUN, FeedKind.EVENT_CHANGED, FeedKind.EVENT_ENDED)

router = APIRouter(prefix=API_PREFIX, tags=["feed"])


class FeedEntryView(BaseView):
    """`data` of one server-sent event; its `event` is the kind, its `id` fits Last-Event-ID."""

    camera: str = Field(validation_alias="camera_id")
    frame_id: TextOrNone
    detail: str = Field(description="request id, connection id, event id or reason, by kind")
    frame: FrameView | None = None
    """the frame as it is now, with its boxes, when asked for with `frames=true`; else null"""
    event: EventView | None = None
    """the event as it is now, when it is about one and `frames=true`; else null"""


@dataclass(frozen=True)
class _Start:
    after: str  # id of the entry that is followed on from
    is_late: bool  # entries after it may have been trimmed


async def _start(
    context: Context,
    last_event_id: Annotated[
        str | None,
        Header(pattern=_ENTRY_ID_PATTERN, description="`id` of the last that was seen"),
    ] = None,
) -> _Start:
    # A dependency, so that a store that does not answer is a 503 and not a stream that breaks.
    feed = context.store.feed
    if last_event_id is None:
        return _Start(await feed.latest_id(), is_late=False)
    return _Start(last_event_id, await feed.has_trimmed(last_event_id))


@router.get("/events/stream", response_class=EventSourceResponse, responses=problems(422, 503))
async def stream_feed(
    context: Context,
    start: Annotated[_Start, Depends(_start)],
    frames: Annotated[bool, Query(description="give what entries are about")] = False,
) -> AsyncIterator[ServerSentEvent]:
    """The feed from now on, or after `Last-Event-ID`; `event` is the kind, `data` a FeedEntryView.

    About the last 10,000 entries are kept; who comes back later than that hears `events.missed`
    first, and does well to ask for everything again. A comment keeps the connection open when
    nothing happens.
    """
    yield ServerSentEvent(comment=f"after {start.after}", retry=RECONNECT_MILLISECONDS)
    if start.is_late:
        missed = FeedEntryView(camera="", frame_id=None, detail=f"events after {start.after}")
        yield ServerSentEvent(event="events.missed", data=missed)
    async for entry in context.feed_tail.listen(start.after):
        data = FeedEntryView.model_validate(entry)
        if frames and entry.frame_id:
            data = data.model_copy(update={"frame": await _frame(context, entry.frame_id)})
        if frames and entry.kind in _OF_EVENTS:
            data = data.model_copy(update={"event": await _event(context, entry.detail)})
        yield ServerSentEvent(
            id=entry.entry_id,
            event=entry.kind.value,
            raw_data=data.model_dump_json(by_alias=True),  # `data` would go by other names
        )


async def _event(context: ApiContext, event_id: str) -> EventView | None:
    try:
        return EventView.model_validate(await context.store.event_index.get(event_id))
    except EventNotFoundError:  # its time was over
        return None


async def _frame(context: ApiContext, frame_id: FrameId) -> FrameView | None:
    try:
        return await view_frame(context, frame_id, with_detections=True)
    except (FrameNotFoundError, FrameGoneError):  # retention was faster
        return None
