"""Clips of videos and the boxes that somebody drew into them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slimtrain.data.pictures import PictureError
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.evaluation.video import TimedImage, find_labels, read_clip, read_video_labels

NAMES = ("person", "bicycle", "car")
HW = (100, 200)


def _frames(count: int, fps: float) -> Iterator[TimedImage]:
    for index in range(count):
        yield (index + 1, index / fps, np.full((8, 12, 3), index + 40, np.uint8))


def test_a_clip_is_cut_at_its_limit() -> None:
    clip = read_clip("street", _frames(60, 5.0), 5.0, limit=5)

    assert list(clip.numbers) == [1, 2, 3, 4, 5]
    assert [int(image[0, 0, 0]) - 39 for image in clip.images] == [1, 2, 3, 4, 5]


def test_a_video_that_is_slower_than_asked_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"street: gives 7 frames/s; 10 were asked for"):
        read_clip("street", _frames(30, 7.0), 10.0)


def test_noise_is_the_same_on_every_run_and_another_in_every_frame() -> None:
    clean, noisy, again = (read_clip("a", _frames(3, 1.0), 1.0, None, n) for n in (0, 4, 4))

    assert noisy.digest == again.digest != clean.digest
    added = [n.astype(int) - c for n, c in zip(noisy.images, clean.images, strict=True)]
    assert 3 < np.std(added) < 5
    assert not np.array_equal(added[0], added[1])


def test_mot_boxes_keep_their_flags_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(
        "1,7,10,20,30,40,1,-1,-1,-1\n"  # a person, as MOT15 has them
        "1,8,50,20,30,40,0,-1,-1,-1\n"  # to be ignored
        "3,9,10,20,30.5,40,1,3,1.0\n"  # a car of MOT16
        "3,9,60,20,30,40,1,12,1.0\n"  # a reflection
        "3,9,60,20,30,40,1,9,1.0\n\n"  # an occluder: neither
    )

    labels = read_video_labels(path, HW, NAMES)

    first, second, third = (labels.of_frame(number) for number in (1, 2, 3))
    assert first
    assert second
    assert third
    assert first.boxes_xyxy.tolist() == [[10, 20, 40, 60], [50, 20, 80, 60]]
    assert first.class_ids.tolist() == [0, 0]
    assert first.is_ignored.tolist() == [False, True]
    assert len(second.class_ids) == 0, "nothing is in it"
    assert third.class_ids.tolist() == [2, 0]
    assert third.is_ignored.tolist() == [False, True]
    assert labels.class_ids == {0, 2}


def test_boxes_of_persons_alone_say_nothing_of_cars_and_no_box_says_none_of_both(
    tmp_path: Path,
) -> None:
    (tmp_path / "gt.txt").write_text("1,7,10,20,30,40,1,-1,-1,-1\n")
    (tmp_path / "empty.txt").write_text("")

    assert read_video_labels(tmp_path / "gt.txt", HW, NAMES).class_ids == {0}
    assert read_video_labels(tmp_path / "empty.txt", HW, NAMES).class_ids == {0, 2}


@pytest.mark.parametrize(
    "line",
    [
        "1,7,10,20,30,40",
        "0,7,10,20,30,40,1",
        "1.5,7,10,20,30,40,1",
        "1,7,10,20,0,40,1",
        "1,7,nan,20,30,40,1",
        "inf,7,10,20,30,40,1",
        "a,7,10,20,30,40,1",
        "1 7 10 20 30 40 1",
    ],
)
def test_a_line_that_is_no_mot_box_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(f"1,7,10,20,30,40,1,-1,-1,-1\n{line}\n")

    with pytest.raises(PictureError, match=r"gt\.txt:2: .* cannot be a box; expected MOT's"):
        read_video_labels(path, HW, NAMES)


def test_yolo_text_is_found_by_the_number_at_the_end_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "street_000026.txt").write_text("2 0.5 0.5 0.2 0.4\n")

    labels = read_video_labels(tmp_path, HW, NAMES)

    there, elsewhere = labels.of_frame(26), labels.of_frame(1)
    assert there
    assert elsewhere
    assert np.allclose(there.boxes_xyxy, [[80, 30, 120, 70]])
    assert there.class_ids.tolist() == [2]
    assert len(elsewhere.class_ids) == 0


def test_yolo_text_that_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "street_1.txt").write_text("0 0.5 0.5 0.2 0.4\n0 50 50 20 40\n")
    with pytest.raises(PictureError, match=r"street_1\.txt:2: .* cannot be a box"):
        read_video_labels(tmp_path, HW, NAMES)

    (tmp_path / "street_1.txt").rename(tmp_path / "street.txt")
    with pytest.raises(PictureError, match=r"street\.txt: expected a name that ends in the frame"):
        read_video_labels(tmp_path, HW, NAMES)


def test_a_teacher_that_saw_some_frames_says_nothing_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "street.jsonl"
    rows = [[0, 0.5, 0.5, 0.2, 0.4, 0.9], [0, 0.2, 0.5, 0.2, 0.4, 0.2]]
    path.write_text(json.dumps({"frame": 1, "boxes": rows}) + '\n{"frame": 26, "boxes": []}\n')

    labels = read_video_labels(path, HW, NAMES)

    seen, nothing = labels.of_frame(1), labels.of_frame(26)
    assert seen
    assert nothing
    assert seen.is_ignored.tolist() == [False, True], "the second is an unsure one"
    assert len(nothing.class_ids) == 0
    assert labels.of_frame(2) is None


def test_labels_go_to_the_video_of_their_name() -> None:
    a, b = Path("videos/a.mp4"), Path("videos/a_night.mp4")

    assert find_labels([a, b], [Path("a_night.boxes.txt")]) == {
        a: None,
        b: Path("a_night.boxes.txt"),
    }
    assert find_labels([a], [Path("gt/gt.txt")]) == {a: Path("gt/gt.txt")}
    for labels in ([Path("c.txt")], [Path("a.txt"), Path("a.boxes.txt")]):
        with pytest.raises(EvaluationError, match=r"expected one file or folder for each"):
            find_labels([a, b], labels)
