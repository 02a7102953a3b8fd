"""Which pictures an evaluation takes, and their labels."""

from pathlib import Path

import pytest
from PIL import Image

from slimtrain.data.pictures import PictureError
from slimtrain.evaluation.pictures import EvaluationError, choose_pictures
from support.models.toy_artifact import make_image


def _folder(root: Path, name: str, *, boxes: str | None) -> Path:
    folder = root / name
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        image = Image.fromarray(make_image(32, 32, seed=number))
        image.save(folder / "images" / f"{name}{number}.png")
    if boxes is not None:
        (folder / "labels").mkdir()
        (folder / "labels" / f"{name}0.txt").write_text(boxes)
    return folder


def test_labels_beside_the_pictures_are_found(tmp_path: Path) -> None:
    folders = [
        _folder(tmp_path, "a", boxes="7 0.5 0.5 0.1 0.1\n"),
        _folder(tmp_path, "b", boxes=""),
    ]

    pictures = choose_pictures(folders, limit=4)

    assert [picture.path.name for picture in pictures] == ["a0.png", "a1.png", "a2.png", "b0.png"]
    assert [picture.source for picture in pictures] == ["a", "a", "a", "b"]
    counts = [-1 if picture.boxes is None else len(picture.boxes) for picture in pictures]
    assert counts == [1, 0, 0, 0]


def test_folders_with_and_without_labels_do_not_mix(tmp_path: Path) -> None:
    folders = [
        _folder(tmp_path, "a", boxes="7 0.5 0.5 0.1 0.1\n"),
        _folder(tmp_path, "b", boxes=None),
    ]

    with pytest.raises(EvaluationError, match="a have labels, b have none"):
        choose_pictures(folders)


def test_nothing_to_evaluate_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "a", boxes=None)

    with pytest.raises(EvaluationError, match="none of 3 pictures"):
        choose_pictures([folder], keep=lambda name: False)
    with pytest.raises(EvaluationError, match="holds no box for any of 3 pictures"):
        choose_pictures([folder], labels=tmp_path)
    with pytest.raises(PictureError, match="found no pictures"):
        choose_pictures([tmp_path / "a/labels"])


def test_a_picture_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "a", boxes=None)
    (folder / "images" / "a0.png").write_bytes(b"no picture")

    assert [picture.path.name for picture in choose_pictures([folder])] == ["a1.png", "a2.png"]


def test_spread_pictures_are_not_neighbours(tmp_path: Path) -> None:
    folders = [_folder(tmp_path, name, boxes=None) for name in "abc"]

    chosen = choose_pictures(folders, limit=3, spread=True)

    assert [picture.path.name for picture in chosen] == ["a0.png", "b0.png", "c0.png"]
