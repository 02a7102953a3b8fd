"""How what scores mean is measured and drawn, on made pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slimtrain.data.pictures import Labelling, LoadedPicture, index_pictures
from studies.detector.held_out import write_folder
from studies.detector.reliability import bin_scores, plot_reliability
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


def test_held_out_boxes_keep_the_teachers_doubt(tmp_path: Path) -> None:
    boxes = np.array([[2, 0.5, 0.5, 0.2, 0.2, 0.3], [0, 0.2, 0.2, 0.1, 0.1, 0.9]], np.float32)
    pictures = [LoadedPicture(make_image(40, 60), boxes, "a.jpg", "camvid")]

    write_folder(pictures, tmp_path / "stills")
    (entry,) = index_pictures([tmp_path / "stills"], {"stills": Labelling(proposals=None)})

    assert entry.path.name == "camvid-a.png"
    assert entry.boxes is not None
    np.testing.assert_allclose(entry.boxes, boxes)
