"""What every route needs, made once by `build_api` and handed to the routes by FastAPI."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request, Response

from slimcloud.frame_id import FrameId
from slimcloud.review.event_feed import EventFeed
from slimcloud.review.pictures.render import PictureRenderer
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
    names: tuple[str, ...]
    num_levels: int


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


def _caller(request: Request) -> str:
    identity = getattr(request.state, "identity", None)
    if identity is not None:
        return str(identity.name)
    return request.client.host if request.client else "unknown"


def _frame(frame_id: str) -> FrameId:
    return FrameId.parse(frame_id)


Context = Annotated[ApiContext, Depends(_context)]
Frame = Annotated[FrameId, Depends(_frame)]
"""The frame of the path."""
Caller = Annotated[str, Depends(_caller)]
"""Under which name what this request does is recorded: of its token, or its address without one."""


def keep_nothing(response: Response) -> None:
    """As a dependency: what a route answers is not for caches."""
    response.headers["Cache-Control"] = "no-store"


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """`Link: rel="next"` (RFC 8288) to the same list, from a cursor on; None = there is no more."""
    if cursor is not None:
        conditions = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
        query = urlencode([*conditions, ("cursor", cursor)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
