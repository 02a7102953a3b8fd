"""What every resource of the API is made of: what its routes are handed, and its models' types.

An answer (`BaseView`) is made from what is stored by `model_validate`: a field is the attribute of
its name, or the one that its `validation_alias` names; its type says how it is written for people.
A description that has no room on the line of its field stands below it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from slimcloud.frame_id import CAMERA_ID_PATTERN, FrameId
from slimcloud.review.feed_tail import FeedTail
from slimcloud.review.pictures.preview import PreviewRenderer
from slimcloud.review.pictures.render import PictureRenderer
from slimcloud.store.frames import Store
from slimcloud.wall_clock import time_of

API_PREFIX = "/api/v1"
_root_path = ContextVar("root_path", default="")  # of the request that is answered
_MAX_ADDRESS = 64  # characters: what a proxy forwards is any text
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


@dataclass(frozen=True)
class ApiContext:
    """The parts that the routes share."""

    store: Store
    renderer: PictureRenderer
    previews: PreviewRenderer | None  # None: the codec has none
    feed_tail: FeedTail
    names: tuple[str, ...]  # label of each class id of the detector
    num_levels: int  # slim levels of the codec
    sharp_quality: float  # that a person who asks for a sharper picture gets; 0: the frame's own
    exports: asyncio.Semaphore  # held by each that is being made
    look_at_tokens: Callable[[], Awaitable[None]]  # an admin has changed that of a camera


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


def _caller(request: Request) -> str:
    identity = getattr(request.state, "identity", None)
    if identity is not None:
        return str(identity.name)
    return request.client.host[:_MAX_ADDRESS] if request.client else "unknown"


def _frame(frame_id: str) -> FrameId:
    return FrameId.parse(frame_id)


Context = Annotated[ApiContext, Depends(_context)]
Frame = Annotated[FrameId, Depends(_frame)]  # the frame of the path
# under which name what this request does is recorded: of its token, or its address without one
Caller = Annotated[str, Depends(_caller)]


def keep_nothing(response: Response) -> None:
    """As a dependency: what a route answers is not for caches."""
    response.headers["Cache-Control"] = "no-store"


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """`Link: rel="next"` (RFC 8288) to the same list, from a cursor on; None = there is no more."""
    if cursor is not None:
        conditions = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
        query = urlencode([*conditions, ("cursor", cursor)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'


class BaseView(BaseModel):
    model_config = ConfigDict(
        frozen=True, from_attributes=True, validate_by_name=True, use_attribute_docstrings=True
    )


class QueryModel(BaseModel):
    """Parameters of a query. A name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


async def note_root_path(request: Request) -> None:
    """Let `url_of` begin with the path below which a proxy has the API."""
    _root_path.set(request.scope.get("root_path", ""))


def url_of(*names: object) -> str:
    """The path of a resource, as whoever asks now sees it: of the API itself, or of one of the
    frames, refetches or reviews.
    """
    return "/".join((f"{_root_path.get()}{API_PREFIX}", *map(str, names)))


def _require_rfc_3339(value: object) -> object:
    # Else a bare number would pass for seconds since 1970, and a slip for a frame's time.
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("expected a time as in RFC 3339, e.g. 2026-11-22T21:30:00Z")
    return value


Text = Annotated[str, BeforeValidator(str)]  # of a FrameId
TextOrNone = Annotated[str | None, BeforeValidator(lambda name: name and str(name))]
FrameUrl = Annotated[str, BeforeValidator(lambda frame_id: url_of("frames", frame_id))]
Time = Annotated[datetime, BeforeValidator(time_of)]  # of microseconds since 1970
TimeOrNone = Annotated[  # 0 stands for never
    datetime | None, BeforeValidator(lambda time_us: time_of(time_us) if time_us else None)
]

CameraId = Annotated[str, Field(pattern=f"^{CAMERA_ID_PATTERN}$")]
Cursor = Annotated[
    str | None, Field(max_length=400, description="`next_cursor` of the page before")
]
Moment = Annotated[AwareDatetime, BeforeValidator(_require_rfc_3339)]
