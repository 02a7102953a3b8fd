"""Decoding and suppression on the device agree with the serving code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimdetect.boxes import decode_heads, suppress
from slimnets.darknet.layers import HeadSpec
from slimtrain.data.pictures import LoadedPicture
from slimtrain.detector.evaluate import detect_boxes, prepare_pictures
from support.models.toy_artifact import make_image

HEADS = (
    HeadSpec(0, 32, ((60.0, 40.0), (90.0, 90.0)), 5, 1.0),
    HeadSpec(1, 16, ((20.0, 30.0), (12.0, 9.0)), 5, 2.0),
)


@pytest.mark.parametrize("new_coords", [False, True])
def test_detections_are_those_of_the_serving_code(new_coords: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    heads = [replace(head, new_coords=new_coords) for head in HEADS]
    raw = [
        2 * torch.randn(2, 20, 4, 5, generator=generator) - 1,
        2 * torch.randn(2, 20, 8, 10, generator=generator) - 2,
    ]
    if new_coords:
        raw = [maps.sigmoid() for maps in raw]

    everywhere = np.array([[-1e4, -1e4, 1e4, 1e4]] * 2, np.float32)

    found = detect_boxes(raw, heads, everywhere)

    for image in range(2):
        expected = decode_heads([maps[image].numpy() for maps in raw], heads, 0.2)
        order = suppress(*expected, iou_threshold=0.5)
        keep = found[image].scores >= 0.2
        assert 5 < len(order) == int(keep.sum())
        np.testing.assert_allclose(found[image].scores[keep], expected.scores[order], rtol=1e-5)
        np.testing.assert_array_equal(found[image].class_ids[keep], expected.class_ids[order])
        np.testing.assert_allclose(
            found[image].boxes_xyxy[keep], expected.boxes_xyxy[order], rtol=1e-4, atol=1e-3
        )


def raw_with(*objects: tuple[int, float], copies: int = 1) -> torch.Tensor:
    """A map of one anchor, so often: objects of class 0 in cells of the first row, with logits."""
    maps = torch.full((1, 10, 4, 5), -20.0)
    maps[:, :4] = 0
    for column, logit in objects:
        maps[0, 4:6, 0, column] = logit
    return maps.repeat(1, copies, 1, 1)


def test_boxes_end_with_the_picture_and_those_beside_it_are_dropped() -> None:
    head = HeadSpec(0, 32, ((60.0, 40.0),), 5, 1.0)
    content = np.array([[0, 0, 40, 30]], np.float32)

    (found,) = detect_boxes([raw_with((0, 3.0), (4, 5.0))], [head], content)

    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 40, 30]])  # of (-14, -4, 46, 36)


def test_doubles_of_one_object_leave_room_for_another() -> None:
    head = HeadSpec(0, 32, ((60.0, 40.0),) * 400, 5, 1.0)
    content = np.array([[0, 0, 160, 128]], np.float32)

    (found,) = detect_boxes([raw_with((0, 9.0), (4, 3.0), copies=400)], [head], content)

    assert (found.scores > 0.5).sum() == 2


def test_labels_move_with_the_letterbox() -> None:
    box = np.asarray([[3, 0.25, 0.5, 0.5, 1.0, 1.0]], np.float32)
    pictures = [LoadedPicture(make_image(40, 80), box, "a.png", "street")]

    prepared = prepare_pictures(pictures, 160)

    assert prepared.x.shape == (1, 3, 160, 160)
    np.testing.assert_allclose(prepared.labels[0].boxes_xyxy, [[0, 40, 80, 120]])
    np.testing.assert_array_equal(prepared.contents_xyxy, [[0, 40, 160, 120]])
    assert (prepared.x[0, :, :40] == 114).all()
    assert (prepared.x[0, :, 40:120] != 114).any()
