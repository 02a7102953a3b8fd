"""`/events`: what happens, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from slimcloud.api.context import Context, problems
from slimcloud.api.views import API_PREFIX, event_view

__all__ = ["router"]

RECONNECT_MILLISECONDS = 2000  # told to the client; the unit is that of the standard
_EVENT_ID_PATTERN = r"^\d{1,19}(-\d{1,19})?$"  # of a Redis stream; 19 digits stay below 2**64

router = APIRouter(prefix=API_PREFIX, tags=["events"])


async def _start_id(
    context: Context,
    last_event_id: Annotated[
        str | None,
        Header(pattern=_EVENT_ID_PATTERN, description="`id` of the last event that was seen"),
    ] = None,
) -> str:
    # A dependency, so that a store that does not answer is a 503 and not a stream that breaks.
    return last_event_id or await context.event_feed.start_id()


@router.get("/events", response_class=EventSourceResponse, responses=problems(422, 503))
async def stream_events(
    context: Context, start_id: Annotated[str, Depends(_start_id)]
) -> AsyncIterator[ServerSentEvent]:
    """Events from now on, or after `Last-Event-ID`; `event` is the kind, `data` an EventView.

    About the last 10,000 events are kept. A comment keeps the connection open when nothing happens.
    """
    yield ServerSentEvent(comment=f"after {start_id}", retry=RECONNECT_MILLISECONDS)
    async for event in context.event_feed.listen(start_id):
        yield ServerSentEvent(id=event.event_id, event=event.kind.value, data=event_view(event))
