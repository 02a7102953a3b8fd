"""What of one camera's detections is reported: where, of which labels, and how urgent it is.

    detections -labels, masks, zones-> Sighting...   (`CameraRules.apply`)

Polygons have relative coordinates, (0, 0) the upper left corner and (1, 1) the lower right one. An
object is where its foot point is, the middle of its box's lower edge: there it stands on the
ground, while the box of a tall one reaches over what lies behind.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from slimcodec.detection import Detection

MAX_POLYGONS = 32  # zones of a camera, and masks
MAX_POINTS = 64  # of a polygon
_MIN_AREA = 1e-5  # of a polygon, share of the picture: less is a line
# How far a foot point keeps from the picture's edges: there it is in what reaches to the edge.
_MARGIN = 1e-6
_ABSENCE_US = 3_000_000  # a stay in a zone goes on after so long outside: boxes jitter

Point = tuple[float, float]
Stays = Mapping[str, tuple[int, int]]  # by zone: when a stay began and when it was seen last, us

_Share = Annotated[float, Field(ge=0, le=1, strict=True)]  # texts are no numbers
_Label = Annotated[str, StringConstraints(min_length=1, max_length=80)]
_Name = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f]{1,64}$")]
_Days = Annotated[float, Field(gt=0, le=3660, strict=True)]


class Severity(StrEnum):
    ALERT = "alert"  # somebody should look now
    DETECTION = "detection"


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Polygon(_Rule):
    points: tuple[tuple[_Share, _Share], ...] = Field(min_length=3, max_length=MAX_POINTS)
    """corners in their order, x and y from 0 to 1"""

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if _area(self.points) < _MIN_AREA:
            raise ValueError("the polygon has no area; give corners that do not lie on one line")
        return self

    def contains(self, point: Point) -> bool:
        """Whether a point is inside, by the even-odd rule.

        Source: Shimrat, Algorithm 112: Position of point relative to polygon, CACM 5(8), 1962.
        """
        x, y = point
        inside = False
        for (x_a, y_a), (x_b, y_b) in _edges(self.points):
            if (y_a > y) != (y_b > y) and x < x_a + (x_b - x_a) * (y - y_a) / (y_b - y_a):
                inside = not inside
        return inside


class Mask(Polygon):
    """Where nothing is reported."""


class Zone(Polygon):
    """A place with a name; what stands in it is told with it."""

    name: _Name
    labels: tuple[_Label, ...] | None = None
    """labels that the zone is for; null: all"""
    loiter_seconds: float = Field(default=0, ge=0, le=3600, strict=True)
    """an object is in the zone when it has stayed for so long, s"""


class LabelRule(_Rule):
    """What a detection must have to be reported; it can only ask for more than the model does."""

    min_score: _Share = 0.0
    min_area: _Share = 0.0
    """of its box, share of the picture"""


class Selection(_Rule):
    """Labels and zones; an object is selected that is one of them and in one of them."""

    labels: tuple[_Label, ...] | None = None
    """null: all"""
    zones: tuple[_Name, ...] | None = None
    """null: anywhere, also in no zone"""

    def takes(self, labels: Iterable[str], zones: Iterable[str]) -> bool:
        return (self.labels is None or not set(self.labels).isdisjoint(labels)) and (
            self.zones is None or not set(self.zones).isdisjoint(zones)
        )


_ALERTS = Selection(labels=("person",))  # by default, also where the detector has no such label


class Retain(_Rule):
    """How long events are kept, days; null: as long as the cloud keeps them by itself."""

    alert_days: _Days | None = None
    detection_days: _Days | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A detection that is reported, and the zones that its foot point is in."""

    detection: Detection
    zones: tuple[str, ...]


class CameraRules(_Rule):
    """Of one camera. Without any, everything is reported, and persons are alerts."""

    zones: tuple[Zone, ...] = Field(default=(), max_length=MAX_POLYGONS)
    masks: tuple[Mask, ...] = Field(default=(), max_length=MAX_POLYGONS)
    labels: dict[_Label, LabelRule] = {}
    """what detections of a label must have"""
    report: Selection = Selection()
    """what is reported at all"""
    alerts: Selection = _ALERTS
    """which of it are alerts"""
    retain: Retain = Retain()

    @model_validator(mode="after")
    def _knows_its_zones(self) -> Self:
        names = [zone.name for zone in self.zones]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two zones are called {twice[0]!r}; give each its own name")
        used = (*(self.report.zones or ()), *(self.alerts.zones or ()))
        if unknown := [name for name in used if name not in names]:
            known = ", ".join(names) or "none"
            raise ValueError(f"no zone is called {unknown[0]!r}; there are {known}")
        return self

    def unknown_label(self, names: Sequence[str]) -> str:
        """Which label the detector lacks, and what may be meant, in words; empty: it has all.

        Args:
            names: labels of the detector.
        """
        lists = (self.report.labels, self.alerts.labels, *(zone.labels for zone in self.zones))
        used = [*self.labels, *(label for labels in lists for label in labels or ())]
        known = {*names, *(_ALERTS.labels or ())}
        for label in used:
            if label not in known:
                close = get_close_matches(label, names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
                return f"the detector has no label {label!r}; {hint}"
        return ""

    def apply(
        self, detections: Sequence[Detection], image_hw: tuple[int, int]
    ) -> tuple[Sighting, ...]:
        """Which detections of a picture are reported, and in which zones each is.

        Args:
            image_hw: height and width of the picture, pixels.
        """
        sightings = []
        for detection in detections:
            rule, foot = self.labels.get(detection.label), foot_point(detection, image_hw)
            if rule and (
                detection.score < rule.min_score
                or _share_of_picture(detection, image_hw) < rule.min_area
            ):
                continue
            if any(mask.contains(foot) for mask in self.masks):
                continue
            zones = tuple(
                zone.name
                for zone in self.zones
                if (zone.labels is None or detection.label in zone.labels) and zone.contains(foot)
            )
            if self.report.takes([detection.label], zones):
                sightings.append(Sighting(detection, zones))
        return tuple(sightings)

    def severity_of(self, labels: Iterable[str], zones: Iterable[str]) -> Severity:
        """Of something that was called so and has been in these zones."""
        return Severity.ALERT if self.alerts.takes(labels, zones) else Severity.DETECTION

    def stay(self, stays: Stays, zones: Iterable[str], now_us: int) -> dict[str, tuple[int, int]]:
        """The stays of an object in zones, after it was seen in some of them."""
        held = {name: stay for name, stay in stays.items() if now_us - stay[1] <= _ABSENCE_US}
        begun = {name: (held.get(name, (now_us, now_us))[0], now_us) for name in zones}
        return {**held, **begun}

    def entered(self, stays: Stays) -> tuple[str, ...]:
        """The zones that it has stayed in for long enough."""
        loiter_us = {zone.name: 1e6 * zone.loiter_seconds for zone in self.zones}
        return tuple(
            name
            for name, (begun_us, seen_us) in stays.items()
            if name in loiter_us and seen_us - begun_us >= loiter_us[name]
        )


def foot_point(detection: Detection, image_hw: tuple[int, int]) -> Point:
    """The middle of its box's lower edge, relative; never quite on the picture's edge."""
    (h, w), (x_min, _, x_max, y_max) = image_hw, detection.box_xyxy
    x, y = (x_min + x_max) / 2 / w, y_max / h
    return min(max(x, _MARGIN), 1 - _MARGIN), min(max(y, _MARGIN), 1 - _MARGIN)


def _share_of_picture(detection: Detection, image_hw: tuple[int, int]) -> float:
    (h, w), (x_min, y_min, x_max, y_max) = image_hw, detection.box_xyxy
    return (x_max - x_min) * (y_max - y_min) / (h * w)


def _edges(points: Sequence[Point]) -> Iterable[tuple[Point, Point]]:
    return zip(points, (*points[1:], points[0]), strict=True)


def _area(points: Sequence[Point]) -> float:
    """Of a polygon, by the shoelace formula."""
    return abs(math.fsum(x_a * y_b - x_b * y_a for (x_a, y_a), (x_b, y_b) in _edges(points))) / 2
