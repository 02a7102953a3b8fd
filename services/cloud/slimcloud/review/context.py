"""What every route needs, made once by `build_api` and handed to the routes by FastAPI."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from slimcloud.review.event_feed import EventFeed
from slimcloud.review.metrics import ReviewMetrics
from slimcloud.review.pictures.render import PictureRenderer
from slimcloud.review.problems import PROBLEM_MEDIA_TYPE
from slimcloud.review.readiness import Readiness
from slimcloud.store.frames import Store


@dataclass(frozen=True)
class ApiContext:
    """The parts that the routes share.

    Attributes:
        names: label of each class id of the detector.
        num_levels: slim levels of the codec; a base of the widest has no enhancement.
    """

    store: Store
    renderer: PictureRenderer
    event_feed: EventFeed
    readiness: Readiness
    metrics: ReviewMetrics
    names: tuple[str, ...]
    num_levels: int


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(_context)]


def _caller(request: Request) -> str:
    identity = getattr(request.state, "identity", None)
    if identity is not None:
        return str(identity.name)
    return request.client.host if request.client else "unknown"


Caller = Annotated[str, Depends(_caller)]
"""Under which name what this request does is recorded: of its token, or its address without one."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: it answers these statuses with a problem."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem", "content": content} for status in statuses}
