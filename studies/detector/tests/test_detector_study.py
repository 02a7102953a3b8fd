"""The next detector: its graph, its recipe, its folders and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.data.pictures import LoadedPicture, index_pictures
from slimtrain.recipe.schema import DetectorRecipe, load_recipe
from studies.detector.evaluate import PERSON, Row, Seen, compare, in_parts, look, read_mot_boxes
from studies.detector.prepare import SETS, UNLABELLED_SETS, VIDEOS, link_set, propose
from studies.detector.widen import widen, widen_sections
from support.models.toy_artifact import make_image

FOLDER = Path(__file__).resolve().parents[1]
GRAPH = Darknet(parse_cfg((FOLDER / "yolo-fastest-stride8.cfg").read_text()))


def test_the_graph_has_a_head_at_stride_8_and_can_be_cut() -> None:
    recipe = load_recipe(str(FOLDER / "street.yaml"), DetectorRecipe)

    assert [head.stride for head in GRAPH.head_specs] == [32, 16, 8]
    assert recipe.schedule.frozen_layers is not None
    assert GRAPH.split_point(recipe.schedule.frozen_layers - 1).stride == 4
    assert GRAPH.split_point(29).stride == 8


def test_a_wider_detector_begins_by_saying_the_same() -> None:
    torch.manual_seed(0)
    filters = {"96": "160", "144": "208", "48": "64", "80": "96"}
    wide = Darknet(widen_sections(GRAPH.sections, 115, filters))
    widen(GRAPH, wide)
    x = torch.rand(1, 3, 64, 64)

    with torch.no_grad():
        heads = zip(GRAPH.eval()(x), wide.eval()(x), strict=True)
        assert all(torch.allclose(old, new, atol=1e-4) for old, new in heads)
    assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in GRAPH.parameters())


def test_the_recipe_of_the_detector_that_ships_is_valid() -> None:
    assert load_recipe(str(FOLDER / "yolov3-slim.yaml"), DetectorRecipe).schedule.seconds == 440


def test_every_folder_is_described_and_none_measures() -> None:
    recipe = load_recipe(str(FOLDER / "street.yaml"), DetectorRecipe)
    made = {*SETS, *UNLABELLED_SETS, *(Path(name).stem for name in VIDEOS)}

    assert set(recipe.folders) == made
    assert not made & {"coco", "coco_more", "vtest", "tud_campus", "motorway_haze"}


def test_regions_without_a_class_are_boxes_that_training_leaves_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    Image.fromarray(make_image(40, 40)).save(source / "images" / "a.png")
    rows = {
        "labels_apache": [[2, 0.5, 0.5, 0.1, 0.1, 0.8]],
        "labels_other": [["biker", 0.2, 0.2, 0.1, 0.1]],
    }
    for name, boxes in rows.items():
        (source / f"{name}.jsonl").write_text(json.dumps({"image": "a.png", "boxes": boxes}))
    recipe = load_recipe(str(FOLDER / "street.yaml"), DetectorRecipe)

    link_set(source, tmp_path / "camvid")
    (entry,) = index_pictures([tmp_path / "camvid"], recipe.folders)

    assert entry.boxes is not None
    np.testing.assert_allclose(entry.boxes[:, 5], [0.8, 0.1])


def test_proposals_are_in_parts_of_the_picture() -> None:
    picture = Image.new("RGB", (200, 100))

    rows = propose(picture, lambda _: [((20.0, 10.0, 60.0, 50.0), 0.7, 2)])

    assert rows == [[2, 0.2, 0.3, 0.2, 0.4, 0.7]]


def test_motchallenge_boxes_keep_their_flag_as_confidence(tmp_path: Path) -> None:
    path = tmp_path / "a.boxes.txt"
    path.write_text("3,1,20,10,40,20,1,-1,-1,-1\n3,2,0,0,10,10,0,-1,-1,-1\n")

    boxes = in_parts(read_mot_boxes(path)[3], 100, 200)

    np.testing.assert_allclose(
        boxes, [[0, 0.2, 0.2, 0.2, 0.2, 1], [0, 0.025, 0.05, 0.05, 0.1, 0]], rtol=1e-6
    )


def test_a_detector_differs_from_itself_by_nothing() -> None:
    box = np.asarray([[PERSON, 0.5, 0.5, 0.4, 0.4, 1.0]], np.float32)
    pictures = [LoadedPicture(make_image(60, 90), box, name, "made") for name in "abc"]
    row = Row("made", lambda: pictures, 64, (PERSON,))
    seen: Seen = look(GRAPH.eval(), pictures, row.side)

    (figures,) = compare(row, [seen, seen])

    assert figures["gain"] == [[0, 0]]
    assert (figures["pictures"], figures["boxes"]) == (3, 3)
