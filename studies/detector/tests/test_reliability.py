"""How what scores mean is measured and drawn, on made pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimcodec.detection import Detection
from slimtrain.data.pictures import Labelling, LoadedPicture, index_pictures
from studies.detector.held_out import write_folder
from studies.detector.reliability import (
    SAMPLE,
    Spell,
    bin_scores,
    count_false,
    plot_reliability,
    spells_of,
)
from support.models.toy_artifact import make_image


def test_bins_say_how_many_boxes_are_right(tmp_path: Path) -> None:
    scores = np.array([0.05, 0.55, 0.58, 1.0], np.float32)

    bins = bin_scores(scores, np.array([False, True, False, True]))
    plot_reliability({"raw": bins}, tmp_path / "reliability.png")

    assert [(b.scores, b.boxes, b.right) for b in bins] == [
        ("0-0.1", 1, 0.0),
        ("0.5-0.6", 2, 0.5),
        ("0.9-1", 1, 1.0),
    ]
    with Image.open(tmp_path / "reliability.png") as plot:
        assert plot.size == (660, 660)


def test_false_boxes_are_those_of_classes_that_are_not_there() -> None:
    boxes = [Detection((0, 0, 1, 1), 0.9, 0, "person"), Detection((0, 0, 1, 1), 0.9, 14, "bird")]

    found = count_false(lambda _: boxes, Spell(SAMPLE, 1, 20, allowed=(0,)))

    assert (found.frames, found.boxes, found.labels) == (4, 4, "4 bird")
    assert found.per_100_frames == 100
    assert found.per_minute == pytest.approx(60 * 10, rel=0.5)


def test_the_sample_is_a_street_and_the_others_are_empty() -> None:
    assert [bool(spell.allowed) for spell in spells_of(Path("data"))] == [False, False, True]


def test_held_out_boxes_keep_the_teachers_doubt(tmp_path: Path) -> None:
    boxes = np.array([[2, 0.5, 0.5, 0.2, 0.2, 0.3], [0, 0.2, 0.2, 0.1, 0.1, 0.9]], np.float32)
    pictures = [LoadedPicture(make_image(40, 60), boxes, "a.jpg", "camvid")]

    write_folder(pictures, tmp_path / "stills")
    (entry,) = index_pictures([tmp_path / "stills"], {"stills": Labelling(proposals=None)})

    assert entry.path.name == "camvid-a.png"
    assert entry.boxes is not None
    np.testing.assert_allclose(entry.boxes, boxes)
