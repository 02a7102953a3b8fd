"""`/notifications/dead-letters`: what receivers outside were not told, and another try."""

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AliasPath, Field

from slimcloud.review.errors import problems
from slimcloud.review.resource import API_PREFIX, BaseView, Caller, Context, QueryModel, Time
from slimcloud.store.keys import DEAD_LENGTH

logger = logging.getLogger(__name__)

router = APIRouter(prefix=f"{API_PREFIX}/notifications", tags=["notifications"])


class NotificationLetterView(BaseView):
    """A message that was given up."""

    id: str = Field(validation_alias="letter_id")
    receiver: str = Field(description="name of the webhook; mqtt is the broker")
    kind: str = Field(validation_alias=AliasPath("message", "kind"), examples=["event.begun"])
    event_id: str = Field(validation_alias=AliasPath("message", "event_id"))
    camera: str = Field(validation_alias=AliasPath("message", "camera"))
    tries: int = Field(ge=0, description="0: too many others waited")
    reason: str = Field(description="for people: what the last try met")
    time: Time = Field(validation_alias="time_unix_us")
    """when it was given up (RFC 3339, UTC)"""


class NotificationLetterList(BaseView):
    """Newest first."""

    dead_letters: list[NotificationLetterView]


class NotificationLetterQuery(QueryModel):
    """How many to list."""

    limit: int = Field(100, ge=1, le=DEAD_LENGTH, description="at most so many")


@router.get("/dead-letters", responses=problems(422, 503))
async def list_notification_letters(
    query: Annotated[NotificationLetterQuery, Query()], context: Context
) -> NotificationLetterList:
    """Messages that their receiver did not take; about the last thousand are kept."""
    letters = await context.store.outbox.undelivered(query.limit)
    views = list(map(NotificationLetterView.model_validate, letters))
    return NotificationLetterList(dead_letters=views)


@router.post(
    "/dead-letters/{letter_id}/delivery-request",
    status_code=202,
    responses=problems(404, 422, 503),
)
async def request_delivery(
    letter_id: Annotated[str, Path(pattern=r"^[0-9]{1,16}-[0-9]{1,16}$")],
    context: Context,
    caller: Caller,
) -> NotificationLetterView:
    """Have a message sent again, behind those that wait; one that fails again comes back."""
    letter = await context.store.outbox.send_again(letter_id)
    logger.info("%s has %s told again of %s", caller, letter.receiver, letter.message.event_id)
    return NotificationLetterView.model_validate(letter)
