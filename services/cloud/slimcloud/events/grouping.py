"""What one camera's detector saw, frame after frame -> events.

    detections ─ rules ─► sightings ─ tracker ─► tracks ─┬─ that move: join the event that is
                                                         │  active, or begin one
                                                         └─ that stand: hold theirs, which rests

A pure function of what was seen when. A track counts from its second sighting on, when it has left
its first place; or when it came later than the camera and has stood for so long that it rests. What
was there from the start and never moved is no event.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import TypeAdapter

from slimcloud.events.event import (
    MAX_PATH_POINTS,
    Event,
    EventState,
    Point,
    RelativeBox,
    event_id_of,
)
from slimcloud.frame_id import FrameId
from slimcloud.tracks.tracker import Track, Tracker
from slimcloud.zones.rules import CameraRules, Severity, Sighting, foot_point
from slimcodec.detection import Detection

GAP_US = 5_000_000  # after so long without motion it is another event
LONGEST_US = 60_000_000  # of motion: in a busy place an event ends then, and another begins
_START_US = 10_000_000  # what comes in a camera's first seconds may have been there before
_TOLD_US = 2_000_000  # between two times that an event is told, where it can wait
_STEP_US = 10_000_000  # a clock that goes back by more was set: all begins anew
_PATH_STEP = 0.01  # of the picture: points of a path are so far apart
_MAX_LABELS = 8  # that are told of an event


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame that was detected."""

    frame_id: FrameId
    captured_us: int  # microseconds since 1970, the cloud's wall clock
    image_hw: tuple[int, int]  # pixels
    detections: Sequence[Detection]


class Told(NamedTuple):
    """An event that is new, changed or ended."""

    event: Event
    is_new: bool


@dataclass(slots=True)
class _Object:
    """What is known of a track beside where it is."""

    label: str = ""
    score: float = 0.0  # the highest
    stays: dict[str, tuple[int, int]] = field(default_factory=dict)  # as of `CameraRules.stay`
    path: list[Point] = field(default_factory=list)  # since its event began
    event: int = 0  # number of its event, or of its last; 0 = none yet

    def step(self, point: Point) -> None:
        """One more point of its path, where it is far enough from the last."""
        x, y = (round(value, 4) for value in point)
        if self.path and max(abs(x - self.path[-1][0]), abs(y - self.path[-1][1])) < _PATH_STEP:
            return
        if len(self.path) == MAX_PATH_POINTS:
            del self.path[1::2]
        self.path.append((x, y))


@dataclass(slots=True)
class _Open:
    """An event that goes on."""

    number: int
    event: Event
    active_us: int  # when something of it moved last
    seen_us: int  # when something of it was seen last
    told_us: int = 0  # when it was told last; 0 = not yet
    is_urgent: bool = True  # what is new of it cannot wait
    is_changed: bool = True
    best_rank: tuple[bool, float] = (False, 0.0)  # an alert before others, then the greater
    best_track: int = 0
    past_labels: dict[str, float] = field(default_factory=dict)  # of objects that are gone

    def change(self, *, is_urgent: bool = True, **changes: object) -> None:
        """Note what is new of it."""
        event = self.event.model_copy(update=changes)
        if event != self.event:
            self.event, self.is_changed = event, True
            self.is_urgent |= is_urgent

    def ended(self) -> Event:
        """What is told at its end."""
        return self.event.model_copy(update={"state": EventState.ENDED, "end_us": self.seen_us})

    def is_full(self, now_us: int) -> bool:
        return now_us - self.event.begin_us >= LONGEST_US


@dataclass(slots=True)
class CameraEvents:
    """Of one camera. `to_json` and `from_json` carry it from one process to another: up to 1.5 kB
    for each of at most `slimcloud.tracks.tracker.MAX_TRACKS` tracks.
    """

    camera: str
    late: bool = False  # of frames that came late
    tracker: Tracker = field(default_factory=Tracker)
    begun_us: int = 0  # of the first frame; 0 = there was none
    objects: dict[int, _Object] = field(default_factory=dict)  # by track
    open: dict[int, _Open] = field(default_factory=dict)  # by number
    next_number: int = 1

    def update(self, frame: SeenFrame, rules: CameraRules) -> list[Told]:
        """Take one frame; give the events that are new, changed or ended by it.

        A frame that is not newer than the last changes nothing.
        """
        now_us, last_us, told = frame.captured_us, self.tracker.captured_us or 0, list[Told]()
        if now_us < last_us - _STEP_US:
            told = self.end()
        elif now_us <= last_us:
            return []
        self.begun_us = self.begun_us or now_us
        sightings = rules.apply(frame.detections, frame.image_hw)
        ids = self.tracker.update(now_us, [sighting.detection for sighting in sightings])
        tracks = {track.track_id: track for track in self.tracker.tracks}
        for track_id, sighting in zip(ids, sightings, strict=True):
            if track_id in tracks:
                self._see(tracks[track_id], sighting, frame, rules)
        return told + self.settle(now_us)

    def settle(self, now_us: int) -> list[Told]:
        """Let time pass; give the events that are new, changed or ended by then."""
        living = {track.track_id: track for track in self.tracker.tracks}
        living = {i: track for i, track in living.items() if not track.is_over(now_us)}
        for track_id in self.objects.keys() - living.keys():
            gone = self.objects.pop(track_id)
            if (one := self.open.get(gone.event)) is not None:
                one.past_labels[gone.label] = max(gone.score, one.past_labels.get(gone.label, 0.0))
        told = []
        for number, one in list(self.open.items()):
            mine = {i: seen for i, seen in self.objects.items() if seen.event == number}
            rests = any(living[track_id].is_resting for track_id in mine)
            is_over = one.is_full(now_us) or now_us - one.active_us >= GAP_US
            if is_over and not rests:
                del self.open[number]
                one.event, one.is_urgent = one.ended(), True
            elif is_over:
                one.change(state=EventState.RESTING)
            one.change(labels=_labels(one.past_labels, mine.values()))
            if one.is_urgent or (one.is_changed and now_us - one.told_us >= _TOLD_US):
                told.append(Told(one.event, one.told_us == 0))
                one.told_us, one.is_urgent, one.is_changed = now_us, False, False
        return told

    def end(self) -> list[Told]:
        """Forget all that is seen; give the events that are ended by it."""
        ended = [Told(one.ended(), is_new=False) for one in self.open.values()]
        self.tracker, self.begun_us, self.objects, self.open = Tracker(), 0, {}, {}
        return ended

    def to_json(self) -> bytes:
        """As it may be stored."""
        return _CAMERA_EVENTS.dump_json(self)

    @staticmethod
    def from_json(document: bytes) -> "CameraEvents":
        """From `to_json`.

        Raises:
            pydantic.ValidationError: it is not.
        """
        return _CAMERA_EVENTS.validate_json(document)

    def _see(self, track: Track, sighting: Sighting, frame: SeenFrame, rules: CameraRules) -> None:
        now_us, found = frame.captured_us, sighting.detection
        seen = self.objects.setdefault(track.track_id, _Object())
        seen.label, seen.score = track.label, max(seen.score, round(found.score, 4))
        seen.stays = rules.stay(seen.stays, sighting.zones, now_us)
        seen.step(foot_point(found, frame.image_hw))
        zones = rules.entered(seen.stays)
        is_reported = rules.report.zones is None or rules.report.takes([seen.label], zones)
        one = self._event_of(track, seen, frame, found) if is_reported else None
        if one is None:
            return
        is_alert = rules.severity_of([seen.label], zones) is Severity.ALERT
        one.seen_us = now_us
        one.change(
            zones=tuple(dict.fromkeys((*one.event.zones, *zones))),
            severity=Severity.ALERT if is_alert else one.event.severity,
        )
        one.change(is_urgent=False, score=max(one.event.score, seen.score))
        if track.is_moving:
            one.active_us = now_us
        rank = (is_alert, found.score * _side(found, frame.image_hw))
        if rank > one.best_rank and (track.is_moving or not one.best_track):
            one.best_rank, one.best_track = rank, track.track_id
            box = _relative(found, frame.image_hw)
            one.change(is_urgent=False, best_frame_id=frame.frame_id, best_box=box)
        if one.best_track == track.track_id:
            one.change(is_urgent=False, path=tuple(seen.path))

    def _event_of(
        self, track: Track, seen: _Object, frame: SeenFrame, found: Detection
    ) -> _Open | None:
        """The event that an object is of from now on; None where it is of none."""
        now_us, own = frame.captured_us, self.open.get(seen.event)
        came_later = track.begun_us - self.begun_us >= _START_US
        has_stood = track.is_resting and not seen.event and (track.has_moved or came_later)
        if track.sightings < 2 or not (track.is_moving or has_stood):
            return own
        joined = [one for one in self.open.values() if one.event.state is EventState.ACTIVE]
        joined += [] if own is None else [own]
        one = next((one for one in joined if not one.is_full(now_us)), None)
        if one is None:
            one = self._begin(track, seen, frame, found)
        if one.number != seen.event:
            seen.path = seen.path[-1:] if seen.event else seen.path
            seen.event = one.number
            one.change(is_urgent=False, objects=one.event.objects + 1)
        one.change(state=EventState.ACTIVE)
        return one

    def _begin(self, track: Track, seen: _Object, frame: SeenFrame, found: Detection) -> _Open:
        number, now_us = self.next_number, frame.captured_us
        self.next_number += 1
        begin_us = now_us if seen.event else track.begun_us
        event = Event(
            event_id=event_id_of(self.camera, begin_us, number),
            camera=self.camera,
            labels=(seen.label,),
            begin_us=begin_us,
            objects=0,
            score=seen.score,
            best_frame_id=frame.frame_id,
            best_box=_relative(found, frame.image_hw),
            late=self.late,
        )
        self.open[number] = _Open(number, event, now_us, now_us)
        return self.open[number]


def _labels(past: Mapping[str, float], objects: Iterable[_Object]) -> tuple[str, ...]:
    """What the objects of an event are called, the most certain first."""
    scores = dict(past)
    for seen in objects:
        scores[seen.label] = max(seen.score, scores.get(seen.label, 0.0))
    return tuple(sorted(scores, key=scores.__getitem__, reverse=True)[:_MAX_LABELS])


def _relative(found: Detection, image_hw: tuple[int, int]) -> RelativeBox:
    (h, w), (x_min, y_min, x_max, y_max) = image_hw, found.box_xyxy
    return round(x_min / w, 4), round(y_min / h, 4), round(x_max / w, 4), round(y_max / h, 4)


def _side(found: Detection, image_hw: tuple[int, int]) -> float:
    """The root of a box's share of the picture."""
    x_min, y_min, x_max, y_max = _relative(found, image_hw)
    return math.sqrt(max(0.0, x_max - x_min) * max(0.0, y_max - y_min))


_CAMERA_EVENTS = TypeAdapter(CameraEvents)
