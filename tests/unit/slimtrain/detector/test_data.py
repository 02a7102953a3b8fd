"""Augmented batches: boxes must follow their pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtrain.data.pictures import Labelling, LoadedPicture, PictureError
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.data import DetectorSampler

CPU = torch.device("cpu")
PLAIN = Augmentation(brightness=0, channel_gain=0, saturation=0, grey_share=0)


def _pictures(count: int = 6) -> list[LoadedPicture]:
    """Black pictures with one white rectangle, of class = the picture's number."""
    images, boxes = [], []
    for number in range(count):
        h, w = 60 + 10 * number, 120 - 7 * number
        image = np.zeros((h, w, 3), np.uint8)
        left, top, right, bottom = 20, 15, 60, 45
        image[top:bottom, left:right] = 255
        images.append(image)
        box = [number, (left + right) / 2 / w, (top + bottom) / 2 / h, 40 / w, 30 / h, 1.0]
        boxes.append(np.asarray([box], np.float32))
    return [
        LoadedPicture(image, of_image, f"{number}.png", "made")
        for number, (image, of_image) in enumerate(zip(images, boxes, strict=True))
    ]


@pytest.mark.parametrize("mosaic_share", [0.0, 1.0])
def test_every_box_frames_its_bright_rectangle(mosaic_share: float) -> None:
    sampler = DetectorSampler(_pictures(), 160, CPU, PLAIN, seed=3)

    batch = sampler.batch(0, 16, mosaic_share)

    boxes = [(image, row) for image, rows in enumerate(batch.targets.tolist()) for row in rows]
    seen = 0
    for image, (_, cx, cy, w, h, confidence) in boxes:
        if w == 0 or confidence == 0:
            continue
        white = batch.x[image].mean(dim=0) > 0.75
        rows = slice(max(0, round(cy - h / 2)), round(cy + h / 2))
        columns = slice(max(0, round(cx - w / 2)), round(cx + w / 2))
        assert white[rows, columns].float().mean() > 0.85  # edges are blurred
        seen += 1
    inside = torch.zeros_like(batch.x[:, 0], dtype=torch.bool)
    for image, (_, cx, cy, w, h, _) in boxes:
        rows = slice(max(0, int(cy - h / 2) - 2), int(cy + h / 2) + 3)
        columns = slice(max(0, int(cx - w / 2) - 2), int(cx + w / 2) + 3)
        if w:
            inside[image, rows, columns] = True
    bright = batch.x.mean(dim=1) > 0.75
    assert seen >= 10
    # Only rectangles that were cut to a sliver, and so dropped, lie outside every box.
    assert (bright & ~inside).sum() < 0.05 * bright.sum()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first = DetectorSampler(_pictures(), 96, CPU, Augmentation(), seed=1)
    second = DetectorSampler(_pictures(), 96, CPU, Augmentation(), seed=1)
    first.batch(0, 4)

    assert torch.equal(first.batch(7, 4).x, second.batch(7, 4).x)
    assert torch.equal(first.batch(7, 4).targets, second.batch(7, 4).targets)
    assert not torch.equal(first.batch(8, 4).x, second.batch(7, 4).x)


def test_pixels_stay_in_range_and_targets_have_a_fixed_shape() -> None:
    batch = DetectorSampler(_pictures(), 96, CPU, Augmentation()).batch(0, 5)

    assert batch.x.shape == (5, 3, 96, 96)
    assert batch.x.min() >= 0
    assert batch.x.max() <= 1
    assert batch.targets.shape[0] == 5
    assert batch.targets.shape[2] == 6


def test_rare_classes_are_drawn_more_often_and_light_folders_less() -> None:
    boxes = [np.asarray([[0, 0.5, 0.5, 0.3, 0.3, 1.0]], np.float32) for _ in range(60)]
    boxes[0][0, 0] = 9  # the only one of its class
    pictures = [
        LoadedPicture(
            np.full((40, 40, 3), 4 * number, np.uint8),
            of_image,
            f"{number}.png",
            "made" if number < 30 else "light",
        )
        for number, of_image in enumerate(boxes)
    ]
    light = {"light": Labelling(weight=0.25)}
    sampler = DetectorSampler(pictures, 32, CPU, PLAIN, labellings=light)

    targets = torch.cat([sampler.batch(step, 64, mosaic_share=1.0).targets for step in range(8)])

    drawn = targets[targets[..., 3] > 0]
    share_of_rare = (drawn[:, 0] == 9).float().mean().item()
    assert share_of_rare > 1.2 / (30 + 0.25 * 30)  # sqrt(0.03 * 60) = 1.34 times its plain share


def test_pictures_without_labels_cannot_train_a_detector() -> None:
    unlabelled = [replace(picture, boxes=None) for picture in _pictures(2)]

    with pytest.raises(PictureError, match="no labelled pictures"):
        DetectorSampler(unlabelled, 64, CPU, Augmentation())


def test_a_mosaics_cells_know_of_their_own_pictures_what_is_absent() -> None:
    folders = ("none", "first")
    pictures = [
        replace(picture, source=folder)
        for picture, folder in zip(_pictures(2), folders, strict=True)
    ]
    labellings = {
        "none": Labelling(complete=frozenset()),
        "first": Labelling(complete=frozenset((0,)), proposed=frozenset((2,))),
    }
    sampler = DetectorSampler(pictures, 64, CPU, PLAIN, labellings=labellings, num_classes=3)

    batch = sampler.batch(0, 8, mosaic_share=1.0)
    absent = batch.is_absent(8, 8)

    assert absent.shape == (8, 8, 8, 3)
    corners = absent[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners, batch.absent)
    assert {tuple(row) for row in batch.absent.flatten(0, 1).tolist()} == {
        (False, False, False),
        (True, False, True),
    }


@pytest.mark.parametrize("share", ["night", "haze", "rain", "noise", "blur"])
def test_weather_changes_pixels_and_no_boxes(share: str) -> None:
    fair = DetectorSampler(_pictures(), 96, CPU, PLAIN)
    changed = DetectorSampler(
        _pictures(), 96, CPU, Augmentation(**{**vars(PLAIN), f"{share}_share": 1.0})
    )

    before, after = fair.batch(0, 4), changed.batch(0, 4)

    assert torch.equal(before.targets, after.targets)
    assert (before.x - after.x).abs().amax((1, 2, 3)).min() > 0.01
    assert 0 <= after.x.min() <= after.x.max() <= 1


def test_a_native_tile_shows_the_pictures_own_pixels() -> None:
    sampler = DetectorSampler(_pictures(1), 200, CPU, replace(PLAIN, native_share=1.0))

    targets = sampler.batch(0, 8, mosaic_share=0.0).targets

    seen = targets[targets[..., 5] == 1]
    assert len(seen)
    torch.testing.assert_close(seen[:, 3:5], torch.tensor([[40.0, 30.0]]).expand(len(seen), 2))
