"""A detection is reported by where it stands, by its label, and is an alert by rule."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from slimcloud.zones.rules import CameraRules, Mask, Severity, Stays
from slimcodec.detection import Detection

IMAGE_HW = (100, 200)
LEFT = {"name": "left", "points": [(0, 0), (0.5, 0), (0.5, 1), (0, 1)]}
SECOND_US = 1_000_000


def standing_at(
    x: float, y: float, label: str = "person", *, score: float = 0.9, h: float = 20
) -> Detection:
    """A box of 10 by `h` pixels; x and y of its foot point are relative."""
    h_image, w_image = IMAGE_HW
    x, y = x * w_image, y * h_image
    return Detection((x - 5, y - h, x + 5, y), score, 0, label)


def rules(**fields: object) -> CameraRules:
    return CameraRules.model_validate(fields)


def test_without_rules_everything_is_reported_and_persons_are_alerts() -> None:
    found = [standing_at(0.2, 0.5), standing_at(0.8, 0.5, "kite")]

    sightings = rules().apply(found, IMAGE_HW)

    assert [sighting.detection for sighting in sightings] == found
    assert [sighting.zones for sighting in sightings] == [(), ()]
    assert rules().severity_of(["car", "person"], []) is Severity.ALERT
    assert rules().severity_of(["car"], []) is Severity.DETECTION


def test_object_is_where_it_stands_not_where_its_box_reaches() -> None:
    upper = {"name": "upper", "points": [(0, 0), (1, 0), (1, 0.5), (0, 0.5)]}

    [tall, far] = rules(zones=[LEFT, upper]).apply(
        [standing_at(0.25, 0.9, h=80), standing_at(0.75, 0.4)], IMAGE_HW
    )

    assert (tall.zones, far.zones) == (("left",), ("upper",))


@pytest.mark.parametrize("foot", [(0.25, 1.0), (0.0, 0.5), (0.3, 1.2)])
def test_object_that_the_picture_cuts_is_in_the_zone_at_its_edge(foot: tuple[float, float]) -> None:
    [sighting] = rules(zones=[LEFT]).apply([standing_at(*foot)], IMAGE_HW)

    assert sighting.zones == ("left",)


def test_notch_of_a_polygon_is_outside() -> None:
    u = Mask(points=((0, 0), (0.3, 0), (0.3, 0.6), (0.7, 0.6), (0.7, 0), (1, 0), (1, 1), (0, 1)))

    inside = [u.contains((x, y)) for x, y in [(0.1, 0.2), (0.5, 0.2), (0.9, 0.2), (0.5, 0.8)]]

    assert inside == [True, False, True, True]


def test_nothing_is_reported_in_a_mask() -> None:
    sightings = rules(masks=[{"points": LEFT["points"]}]).apply(
        [standing_at(0.2, 0.5), standing_at(0.8, 0.5)], IMAGE_HW
    )

    assert [sighting.detection for sighting in sightings] == [standing_at(0.8, 0.5)]


def test_labels_ask_for_score_and_size() -> None:
    small, faint = standing_at(0.8, 0.5, "car", h=10), standing_at(0.8, 0.5, "car", score=0.4)
    fits = [standing_at(0.8, 0.5, "car"), standing_at(0.8, 0.5, score=0.4)]

    sightings = rules(labels={"car": {"min_score": 0.5, "min_area": 0.008}}).apply(
        [small, faint, *fits], IMAGE_HW
    )

    assert [sighting.detection for sighting in sightings] == fits


def test_zone_and_report_choose_labels_and_places() -> None:
    only = rules(zones=[LEFT | {"labels": ["car"]}], report={"zones": ["left"]})

    sightings = only.apply(
        [standing_at(0.2, 0.5, "car"), standing_at(0.2, 0.5), standing_at(0.8, 0.5, "car")],
        IMAGE_HW,
    )

    assert [sighting.detection for sighting in sightings] == [standing_at(0.2, 0.5, "car")]
    assert rules(report={"labels": []}).apply([standing_at(0.2, 0.5)], IMAGE_HW) == ()


@pytest.mark.parametrize(
    ("alerts", "severity"),
    [
        ({}, Severity.ALERT),
        ({"labels": ["car"]}, Severity.DETECTION),
        ({"zones": ["left"]}, Severity.ALERT),
        ({"zones": ["left"], "labels": ["car"]}, Severity.DETECTION),
        ({"zones": []}, Severity.DETECTION),
    ],
)
def test_alert_is_one_of_the_labels_in_one_of_the_zones(
    alerts: dict[str, object], severity: Severity
) -> None:
    found = rules(zones=[LEFT], alerts=alerts).severity_of(["person"], ["left"])

    assert found is severity


def test_zone_is_entered_after_loitering_and_a_glimpse_outside_is_no_leaving() -> None:
    loiter = rules(zones=[LEFT | {"loiter_seconds": 5}])
    entered: list[bool] = []
    stays: Stays = {}
    for second, zones in enumerate([["left"], [], ["left"], [], [], ["left"], ["left"]]):
        stays = loiter.stay(stays, zones, second * SECOND_US)
        entered.append(loiter.entered(stays) == ("left",))

    left = loiter.stay(stays, [], 10 * SECOND_US)

    assert entered == [False] * 5 + [True, True]
    assert left == {}
    assert rules(zones=[LEFT]).entered({"left": (0, 0), "removed": (0, 0)}) == ("left",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"masks": [{"points": [(0, 0), (1, 1)]}]}, "at least 3 items"),
        ({"masks": [{"points": [(0, 0), (0.5, 0.5), (1, 1)]}]}, "has no area"),
        ({"masks": [{"points": [(0, 0), (100, 0), (0, 1)]}]}, "less than or equal to 1"),
        ({"zones": [LEFT, LEFT]}, "two zones are called 'left'"),
        ({"zones": [LEFT], "alerts": {"zones": ["lift"]}}, "no zone is called 'lift'; .* left"),
        ({"report": {"zones": ["yard"]}}, "there are none"),
        ({"mask": []}, "Extra inputs"),
        ({"retain": {"alert_days": 0}}, "greater than 0"),
    ],
)
def test_wrong_rules_are_refused_with_what_to_do(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rules(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"persn": {}}},
        {"alerts": {"labels": ["persn"]}},
        {"zones": [LEFT | {"labels": ["persn"]}]},
    ],
)
def test_label_that_the_detector_lacks_is_named(fields: dict[str, object]) -> None:
    message = rules(**fields).unknown_label(["person", "car"])

    assert message == "the detector has no label 'persn'; did you mean person?"


def test_what_is_said_by_default_is_asked_of_no_detector() -> None:
    assert rules().unknown_label(["boat"]) == ""
    assert "it has boat" in rules(report={"labels": ["zebra"]}).unknown_label(["boat"])


def test_rules_survive_their_json() -> None:
    said = rules(zones=[LEFT], masks=[{"points": LEFT["points"]}], retain={"alert_days": 14})

    assert CameraRules.model_validate_json(said.model_dump_json()) == said
