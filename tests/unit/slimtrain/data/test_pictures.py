"""Picture folders and label files."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slimtrain.data.pictures import (
    POSITIVE_CONFIDENCE,
    Labelling,
    PictureError,
    index_pictures,
    load_pictures,
    merge_teacher_boxes,
    read_label_file,
    read_picture,
    read_teacher_boxes,
)
from support.models.toy_artifact import make_image


def _boxes(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(rows, np.float32).reshape(-1, 6)


def _make_folder(root: Path) -> Path:
    folder = root / "street"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(3):
        image = Image.fromarray(make_image(60, 100, seed=number))
        image.save(folder / "images" / f"{number}.jpg")
    (folder / "labels" / "0.txt").write_text("2 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.05 0.1\n")
    (folder / "labels" / "1.txt").write_text("")
    teacher = {
        "image": "0.jpg",
        "boxes": [[2, 0.5, 0.5, 0.2, 0.4, 0.8], [7, 0.9, 0.9, 0.1, 0.1, 0.25]],
    }
    (folder / "labels_teacher.jsonl").write_text(json.dumps(teacher) + "\n")
    return folder


def test_a_folder_gives_its_pictures_with_labels_and_teacher_confidences(tmp_path: Path) -> None:
    entries = index_pictures([_make_folder(tmp_path)])

    assert [entry.path.name for entry in entries] == ["0.jpg", "1.jpg", "2.jpg"]
    assert all(entry.source == "street" for entry in entries)
    first = entries[0].boxes
    assert first is not None
    assert first[:, 0].tolist() == [2, 0, 7]
    np.testing.assert_allclose(first[:, 5], [0.8, 1.0, 0.25], rtol=1e-6)
    assert entries[1].boxes is not None
    assert len(entries[1].boxes) == 0


def test_proposals_count_for_classes_that_people_did_not_look_for(tmp_path: Path) -> None:
    folder = _make_folder(tmp_path)
    people = {"image": "0.jpg", "boxes": [[0, 0.1, 0.1, 0.05, 0.1]]}
    (folder / "people.jsonl").write_text(json.dumps(people) + "\n")
    boxes = [
        [0, 0.1, 0.1, 0.05, 0.1, 0.9],
        [0, 0.6, 0.6, 0.2, 0.2, 0.9],
        [2, 0.3, 0.3, 0.1, 0.1, 0.9],
    ]
    proposals = {"image": "0.jpg", "boxes": boxes}
    (folder / "proposals.jsonl").write_text(json.dumps(proposals) + "\n")

    def boxes_of(labelling: Labelling) -> list[list[float]]:
        entries = index_pictures([folder], {"street": labelling})
        rows = [entry.boxes for entry in entries]
        assert rows[0] is not None
        assert rows[1] is not None
        assert len(rows[1]) == 0
        return [[row[0], round(row[5], 2)] for row in rows[0].tolist()]

    merged = Labelling("people.jsonl", "proposals.jsonl", complete=frozenset((0,)))
    assert boxes_of(merged) == [[0, 0.9], [0, 0.34], [2, 0.9]]
    alone = Labelling(None, "proposals.jsonl", complete=frozenset((0,)))
    assert boxes_of(alone) == [[0, 0.9], [0, 0.9], [2, 0.9]]


def test_a_class_is_absent_where_people_or_proposals_are_complete() -> None:
    assert Labelling().is_absent(3).tolist() == [True, True, True]
    some = Labelling(complete=frozenset((0,)), proposed=frozenset((2,)))
    assert some.is_absent(3).tolist() == [True, False, True]


def test_a_plain_folder_of_pictures_is_unlabelled(tmp_path: Path) -> None:
    Image.fromarray(make_image(40, 40)).save(tmp_path / "a.png")

    (entry,) = index_pictures([tmp_path])

    assert entry.boxes is None


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no pictures"):
        index_pictures([tmp_path])


def test_an_uncovered_teacher_box_is_ignored_however_sure_the_teacher_is() -> None:
    labels = _boxes((0, 0.3, 0.3, 0.2, 0.2, 1.0))
    teacher = _boxes((5, 0.8, 0.8, 0.2, 0.2, 0.95), (3, 0.31, 0.3, 0.2, 0.2, 0.9))

    merged = merge_teacher_boxes(labels, teacher)

    assert merged[:, 0].tolist() == [0, 5]  # the other overlaps a label
    assert merged[0, 5] == 1.0
    assert merged[1, 5] < POSITIVE_CONFIDENCE


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.1",
        "zero 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 -0.1 0.1",
        "1.5 0.5 0.5 0.1 0.1",
        "0 nan 0.5 0.1 0.1",
        "0 320 240 60 80",
    ],
)
def test_a_bad_label_line_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n")

    with pytest.raises(PictureError, match="x.txt:2"):
        read_label_file(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"image": "a.jpg"',
        '{"image": "a.jpg"}',
        '{"image": "a.jpg", "boxes": [[0, 0.5, 0.5, 0.1]]}',
        '{"image": "a.jpg", "boxes": [[0, 320, 240, 60, 80, 0.5]]}',
        '{"image": "a.jpg", "boxes": [[0, "x", 0.5, 0.1, 0.1, 0.5]]}',
    ],
)
def test_a_bad_line_of_proposals_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"image": "b.jpg", "boxes": []}}\n{line}\n')

    with pytest.raises(PictureError, match="x.jsonl:2"):
        read_teacher_boxes(path)


def test_labels_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("3 0.5 0.5 0.1 0.1\n", encoding="utf-8-sig")

    assert read_label_file(path)[0, 0] == 3


def test_labels_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(PictureError, match=r"x\.txt: no UTF-8"):
        read_label_file(path)


def test_a_large_picture_is_shrunk_and_a_small_one_is_not(tmp_path: Path) -> None:
    Image.fromarray(make_image(60, 100)).save(tmp_path / "a.png")

    assert read_picture(tmp_path / "a.png", max_edge=50).shape == (30, 50, 3)
    assert read_picture(tmp_path / "a.png", max_edge=500).shape == (60, 100, 3)


def test_loaded_pictures_keep_boxes_names_and_folders(tmp_path: Path) -> None:
    folder = _make_folder(tmp_path)
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.fromarray(make_image(40, 80)).save(plain / "a.png")
    entries = index_pictures([folder, plain])

    loaded = load_pictures(entries, max_edge=80)

    assert [picture.image.shape for picture in loaded] == [(48, 80, 3)] * 3 + [(40, 80, 3)]
    assert [picture.name for picture in loaded] == ["0.jpg", "1.jpg", "2.jpg", "a.png"]
    assert [picture.source for picture in loaded] == ["street"] * 3 + ["plain"]
    assert loaded[3].boxes is None
    for entry, picture in zip(entries, loaded, strict=True):
        assert picture.boxes is entry.boxes


def test_a_picture_that_cannot_be_read_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _make_folder(tmp_path)
    (folder / "images" / "1.jpg").write_bytes((folder / "images" / "0.jpg").read_bytes()[:800])

    loaded = load_pictures(index_pictures([folder]))

    assert [picture.name for picture in loaded] == ["0.jpg", "2.jpg"]
    assert "images/1.jpg: cannot be decoded" in caplog.text
    assert "1 pictures passed over" in caplog.text


def test_pictures_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()

    with pytest.raises(PictureError, match="none of 1 pictures"):
        load_pictures(index_pictures([tmp_path]))
