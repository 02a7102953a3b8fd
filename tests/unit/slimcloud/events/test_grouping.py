"""What moves together is one event, what stands rests in it, and a busy place has one a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from slimcloud.events.event import MAX_PATH_POINTS, Event, EventState
from slimcloud.events.grouping import CameraEvents, SeenFrame
from slimcloud.frame_id import FrameId
from slimcloud.zones.rules import CameraRules, Severity, Zone
from slimcodec.detection import Detection

RATE = 4  # frames a second
START_US = 1_780_000_000_000_000
HW = (480, 640)
NO_RULES = CameraRules()


def box(x: float, label: str = "person", *, score: float = 0.9, y: float = 240) -> Detection:
    return Detection((x - 15, y - 40, x + 15, y + 40), score, 0, label)


Scene = Callable[[float], Sequence[Detection]]  # what is seen at a time, seconds


def watch(
    scene: Scene,
    seconds: float,
    maker: CameraEvents | None = None,
    rules: CameraRules = NO_RULES,
    *,
    begin: float = 0,
) -> list[Event]:
    """The events of a scene as they are at its end, in the order in which they began."""
    maker = maker or CameraEvents("gate")
    events: dict[str, Event] = {}
    for i in range(round(RATE * seconds)):
        at = begin + i / RATE
        frame = SeenFrame(FrameId("gate", 1, i + 1), START_US + round(1e6 * at), HW, scene(at))
        events |= {told.event.event_id: told.event for told in maker.update(frame, rules)}
    return list(events.values())


def spans(events: Iterable[Event]) -> list[tuple[float, float | None]]:
    """Begin and end of events, seconds."""
    return [
        ((e.begin_us - START_US) / 1e6, e.end_us and (e.end_us - START_US) / 1e6) for e in events
    ]


def walker(begin: float, end: float, *, label: str = "person", y: float = 240) -> Scene:
    return lambda at: [box(40 + 50 * (at - begin), label, y=y)] if begin <= at < end else []


def together(*scenes: Scene) -> Scene:
    return lambda at: [found for scene in scenes for found in scene(at)]


def test_a_walker_is_one_event_with_his_path_and_his_best_frame() -> None:
    (event,) = watch(walker(2, 10), 20)

    assert spans([event]) == [(2, 9.75)]
    assert (event.state, event.severity) == (EventState.ENDED, Severity.ALERT)
    assert (event.labels, event.objects, event.score) == (("person",), 1, 0.9)
    assert event.best_frame_id.camera_id == "gate"
    assert event.best_box[2] - event.best_box[0] == pytest.approx(30 / 640, abs=1e-4)
    xs = [x for x, _ in event.path]
    assert xs == sorted(xs)
    assert 5 < len(xs) <= MAX_PATH_POINTS


def test_who_follows_within_seconds_is_of_the_same_event() -> None:
    scene = together(walker(2, 8), walker(6, 12, label="bicycle", y=400), walker(15, 20))

    (event,) = watch(scene, 30)

    assert spans([event]) == [(2, 19.75)]
    assert (event.objects, set(event.labels)) == (3, {"person", "bicycle"})


def test_who_comes_later_is_another_event() -> None:
    assert spans(watch(together(walker(2, 8), walker(20, 26)), 40)) == [(2, 7.75), (20, 25.75)]


def test_a_single_sighting_is_no_event() -> None:
    assert watch(lambda at: [box(100 * at)] if at in (3, 8, 12) else [], 20) == []


def test_what_was_there_and_never_moves_is_no_event() -> None:
    def parked(at: float) -> list[Detection]:
        return [box(300 + (i % 3), "car") for i in [round(at * RATE)] if i % 11]

    assert watch(parked, 120) == []


def test_what_comes_and_stays_is_one_event_that_rests() -> None:
    def van(at: float) -> list[Detection]:
        return [box(40 + 50 * min(at - 20, 6), "car")] if at >= 20 else []

    (event,) = watch(van, 600)

    assert spans([event]) == [(20, None)]
    assert (event.state, event.severity) == (EventState.RESTING, Severity.DETECTION)


def test_what_stands_before_anybody_saw_it_come_is_one_event_that_rests() -> None:
    (event,) = watch(lambda at: [box(300)] if at >= 20 else [], 300)

    assert event.state is EventState.RESTING


def test_what_rested_and_goes_away_is_another_event() -> None:
    def van(at: float) -> list[Detection]:
        x = 40 + 50 * min(at, 5) + 50 * max(0, at - 200)
        return [box(x, "car")] if x < 600 else []

    came, left = watch(van, 230)

    assert spans([came, left])[1] == (200.5, 206)
    assert (came.state, left.state) == (EventState.ENDED, EventState.ENDED)


def test_a_place_that_is_never_empty_has_an_event_a_minute() -> None:
    scene = together(*(walker(4 * i, 4 * i + 10) for i in range(200)))

    events = watch(scene, 600)

    assert len(events) in (10, 11)
    assert all(event.objects > 10 for event in events[:-1])


def test_a_frame_that_is_not_newer_changes_nothing_and_a_clock_set_back_begins_anew() -> None:
    maker = CameraEvents("gate")
    (event,) = watch(walker(0, 10), 5, maker)

    assert watch(walker(0, 10), 2, maker) == []
    (ended, begun) = watch(walker(-200, -190), 5, maker, begin=-200)

    assert (ended.event_id, ended.state) == (event.event_id, EventState.ENDED)
    assert begun.state is EventState.ACTIVE


def test_time_that_passes_without_frames_ends_an_event() -> None:
    maker = CameraEvents("gate")
    (event,) = watch(walker(0, 10), 5, maker)

    (told,) = maker.settle(START_US + 20_000_000)

    assert (told.event.event_id, told.event.state) == (event.event_id, EventState.ENDED)
    assert spans([told.event]) == [(0, 4.75)]


def test_state_goes_on_in_another_process() -> None:
    first = CameraEvents("gate")
    begun = watch(walker(0, 10), 5, first)
    second = CameraEvents.from_json(first.to_json())

    ended = watch(walker(0, 10), 15, second, begin=5)

    assert [event.event_id for event in ended] == [event.event_id for event in begun]
    assert spans(ended) == [(0, 9.75)]


def test_zones_are_told_in_order_and_loiterers_alone_are_reported_where_rules_say_so() -> None:
    def half(name: str, x: float, loiter: float = 0) -> Zone:
        corners = ((x, 0.0), (x + 0.5, 0.0), (x + 0.5, 1.0), (x, 1.0))
        return Zone(name=name, points=corners, loiter_seconds=loiter)

    zones = CameraRules(zones=(half("right", 0.5), half("left", 0.0)))
    loiter = CameraRules.model_validate(
        {"zones": [half("left", 0.0, 20)], "report": {"zones": ["left"]}}
    )

    def lingerer(at: float) -> list[Detection]:
        return [box(40 + 10 * min(at - 12, 5))] if at >= 12 else []

    assert [event.zones for event in watch(walker(2, 12), 20, rules=zones)] == [("left", "right")]
    assert watch(walker(2, 12), 20, rules=loiter) == []
    assert [event.zones for event in watch(lingerer, 60, rules=loiter)] == [("left",)]
