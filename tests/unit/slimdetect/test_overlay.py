"""Detections drawn over pictures."""

import numpy as np
import pytest

from slimcodec.detection import Detection
from slimdetect.overlay import draw_detections


def test_a_box_is_drawn_on_a_copy() -> None:
    image = np.zeros((120, 160, 3), dtype=np.uint8)

    drawn = draw_detections(image, [Detection((20, 40, 90, 100), 0.9, 1, "car")])

    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert not image.any()
    assert drawn[40:100, 20].any(axis=1).all()  # the left edge
    assert drawn[99, 20:90].any(axis=1).all()  # the bottom edge
    assert not drawn[60:95, 30:85].any()  # the inside stays as it was
    assert drawn[26:40, 22:60].any()  # the label stands above the box


def test_without_detections_the_picture_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (17, 33, 3), dtype=np.uint8)

    assert np.array_equal(draw_detections(image, []), image)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 300), (17, 33), (1500, 40)])
def test_boxes_at_and_beyond_the_edges_are_drawn_in_any_picture(h: int, w: int) -> None:
    image = np.zeros((h, w, 3), dtype=np.uint8)
    boxes = [(0, 0, w, h), (-9, -9, w + 9, h + 9), (w - 1, h - 1, w, h), (w, h, w + 5, h + 5)]

    drawn = draw_detections(image, [Detection(box, 0.5, 0) for box in boxes])

    assert drawn.any()


def test_classes_differ_in_colour_and_unknown_ones_are_drawn_too() -> None:
    image = np.zeros((60, 60, 3), dtype=np.uint8)

    colours = {
        tuple(draw_detections(image, [Detection((5, 30, 50, 55), 0.5, i)])[45, 5].tolist())
        for i in (0, 1, 79)
    }

    assert len(colours) == 3
