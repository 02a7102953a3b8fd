"""What is counted as a false box."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from slimcodec.detection import Detection
from studies.detector import false_boxes
from studies.detector.false_boxes import SAMPLE, Spell, count_false, read_spell, spells_of


def test_false_boxes_are_those_of_classes_that_are_not_there() -> None:
    person, bird = (
        Detection((0, 0, 1, 1), score, class_id, label)
        for score, class_id, label in ((0.9, 0, "person"), (0.5, 14, "bird"))
    )

    found = count_false(Spell(SAMPLE, 1, 20, every=5, allowed=(0,)), [[person, bird], [], [person]])

    assert (found.frames, found.frames_with_boxes, found.boxes) == (3, 1, 1)
    assert found.per_minute == pytest.approx(60 * 10 / 3, rel=0.5)
    assert found.labels == "1 bird to 0.50"


def test_of_a_spell_every_so_manieth_frame_is_read() -> None:
    assert len(read_spell(Spell(SAMPLE, 1, 20, every=5))) == 4


def test_the_sample_is_a_street_and_the_others_are_empty() -> None:
    assert [bool(spell.allowed) for spell in spells_of(Path("data"))] == [False, False, True]


def test_each_level_and_quality_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "false-boxes.csv"
    spell = Spell(SAMPLE, 1, 5, every=5)
    monkeypatch.setattr(false_boxes, "spells_of", lambda _: [spell])
    words = ["--model", "slim", "--data", "data", "--levels", "0", "1", "--qualities", "2"]
    monkeypatch.setattr("sys.argv", ["false_boxes", *words, "--threads", "1", "--to", str(to)])

    false_boxes.main()

    with to.open() as file:
        rows = [(row["level"], row["quality"], row["frames"]) for row in csv.DictReader(file)]
    assert rows == [("0", "2", "1"), ("1", "2", "1")]
