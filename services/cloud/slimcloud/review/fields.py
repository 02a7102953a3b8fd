"""What the models of requests and answers share.

An answer (`View`) is made from what is stored by `model_validate`: a field is the attribute of its
name, or the one that its `validation_alias` names, and its type says how it is written for people.
"""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from slimcloud.frame_id import CAMERA_ID_PATTERN
from slimcloud.wall_clock import time_of

API_PREFIX = "/api/v1"
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


class View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True, validate_by_name=True)


class QueryModel(BaseModel):
    """Parameters of a query. A name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def url_of(resource: str, name: object) -> str:
    """The path of one of the frames, refetches or reviews."""
    return f"{API_PREFIX}/{resource}/{name}"


def _require_rfc_3339(value: object) -> object:
    # Else a bare number would pass for seconds since 1970, and a slip for a frame's time.
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("expected a time as in RFC 3339, e.g. 2026-11-22T21:30:00Z")
    return value


Text = Annotated[str, BeforeValidator(str)]  # of a FrameId
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
