"""The operator's file: one entry a camera, and a message that says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcloud.zones.file import parse_rules
from slimcloud.zones.rules import CameraRules

TEXT = """
gate-1:
  zones:
    - {name: yard, points: [[0, 0.5], [1, 0.5], [1, 1], [0, 1]], loiter_seconds: 5}
  alerts: {zones: [yard]}
hall: {}
"""


def test_file_has_rules_by_camera() -> None:
    table = parse_rules(TEXT, ["person", "car"])

    assert list(table) == ["gate-1", "hall"]
    assert table["gate-1"].zones[0].loiter_seconds == 5
    assert table["gate-1"].alerts.labels is None
    assert parse_rules("") == {}


def test_example_of_the_page_is_one() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "review.md").read_text(encoding="utf-8")

    [rules] = parse_rules(page.split("```yaml\n")[1].split("```")[0], ["person", "car"]).values()

    assert all(
        getattr(rules, name) != field.default for name, field in CameraRules.model_fields.items()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "gate-1: {masks: [{points: [[0, 0], [1, 1]]}]}",
            r"gate-1.masks.0.points: .* at least 3 items",
        ),
        ("gate 1: {}", "gate 1"),
        ("gate-1: {labels: {persn: {min_score: 0.5}}}", "gate-1: .*'persn'; did you mean person"),
        ("gate-1: {}\ngate-1: {}", "line 2: gate-1 is there twice"),
        ("gate-1: [", "line 1"),
        ("- gate-1", "dictionary"),
    ],
)
def test_wrong_file_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_rules(text, ["person", "car"])
