"""IDF1 and switches of tracks that are counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.tracks.evaluate import read_truth
from studies.tracks.identity import measure

LEFT, RIGHT = (0.0, 0.0, 10.0, 20.0), (100.0, 0.0, 110.0, 20.0)


def test_tracks_that_keep_their_names_are_perfect() -> None:
    found = measure([{1: LEFT, 2: RIGHT}] * 4, [{7: RIGHT, 9: LEFT}] * 4)

    assert (found.idf1, found.switches, found.recall, found.precision) == (1, 0, 1, 1)


def test_a_name_that_changes_half_way_is_a_switch_and_half_of_the_boxes() -> None:
    found = measure([{1: LEFT}] * 4, [{5: LEFT}] * 2 + [{6: LEFT}] * 2)

    assert (found.idf1, found.switches, found.tracks) == (0.5, 1, 2)


def test_what_is_missed_and_what_is_not_there_counts() -> None:
    found = measure([{1: LEFT}] * 4, [{5: LEFT}, {5: LEFT}, {5: RIGHT}, {}])

    assert found.idf1 == pytest.approx(2 * 2 / (4 + 3))
    assert found.recall == 0.5
    assert found.precision == pytest.approx(2 / 3)


def test_boxes_to_be_ignored_are_kept_apart(tmp_path: Path) -> None:
    boxes = tmp_path / "a.boxes.txt"
    boxes.write_text("1,3,10,20,5,6,1,-1,-1,-1\n1,4,0,0,9,9,0,-1,-1,-1\n")

    assert read_truth(boxes) == ({1: {3: (10, 20, 15, 26)}}, {1: [(0, 0, 9, 9)]})
