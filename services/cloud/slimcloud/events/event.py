"""The event: what one or several tracks of one camera did together, as it is stored and told."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from slimcloud.frame_id import CAMERA_ID_PATTERN, FrameId
from slimcloud.zones.rules import Severity

MAX_PATH_POINTS = 32

FrameName = Annotated[  # written as it is spelled
    FrameId,
    BeforeValidator(lambda name: FrameId.parse(name) if isinstance(name, str) else name),
    PlainSerializer(str, return_type=str),
]
Point = tuple[float, float]  # of a picture whose width and height are 1
RelativeBox = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max, in the same


class EventState(StrEnum):
    ACTIVE = "active"  # something moves
    RESTING = "resting"  # all that came is there still, and stands
    ENDED = "ended"


class Event(BaseModel):
    """Times are microseconds since 1970, by the cloud's wall clock."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: str = Field(pattern=rf"^{CAMERA_ID_PATTERN}\.[0-9a-f]{{16}}\.[0-9]{{1,10}}$")
    camera: str
    labels: tuple[str, ...]  # of its objects, the most certain first
    zones: tuple[str, ...] = ()  # that they were in, in order of entry
    begin_us: int
    end_us: int | None = None  # None while it goes on
    severity: Severity = Severity.DETECTION
    state: EventState = EventState.ACTIVE
    objects: int  # tracks
    score: float  # the highest of any detection, 0 to 1
    best_frame_id: FrameName
    best_box: RelativeBox  # of one object in that frame
    path: tuple[Point, ...] = ()  # of that object: where its box stood, bottom centre
    reviewed: bool = False
    late: bool = False  # made of frames that came late: for the record


def event_id_of(camera: str, begin_us: int, number: int) -> str:
    """An opaque name, fit for paths of URLs."""
    return f"{camera}.{begin_us:016x}.{number}"


def camera_of(event_id: str) -> str:
    """The camera of an event's name."""
    return event_id.rsplit(".", 2)[0]
