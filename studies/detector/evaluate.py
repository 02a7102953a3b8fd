"""Detectors on pictures and cameras that training never saw: AP50 of each, and the middle 95 % of
the last one's difference to each before it in paired draws of the pictures.

COCO, vtest and tud_campus by people's boxes; the others by DEIMv2-femto's, from a score of 0.35 on.
Letterboxed; "native" is the picture's own size. Also boxes from a score of 0.25 on: of streets'
classes, and of others.

    python -m studies.detector.evaluate --data ../shared/data --to figures.json
        --detectors A.cfg,A.weights B.cfg,B.weights
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from slimcodec.model.find import find_model
from slimedge.capture.video import Video
from slimnets.darknet.detector import Darknet
from slimtrain.data.pictures import (
    BOX_FIELDS,
    Boxes,
    Labelling,
    LoadedPicture,
    Pictures,
    index_pictures,
    load_pictures,
)
from slimtrain.detector.artifact import DarknetFiles, load_detector_model
from slimtrain.detector.evaluate import detect_prepared, prepare_pictures
from slimtrain.figures.bootstrap import draw_pictures, interval
from slimtrain.figures.mean_average_precision import (
    Labels,
    ScoredBoxes,
    match_boxes,
    mean_ap,
)

PERSON, CAR = 0, 2
COCO_CLASSES = 80
STREET_CLASSES = (0, 1, 2, 3, 5, 7)
SURE = 0.25
"""Score from which on a box would be shown."""
LONDON_A13 = ("london_a13_day", "london_a13_sun", "london_a13_night")
PROPOSALS = Labelling(people=None, proposals="labels_apache.jsonl")
PEOPLE = Labelling(proposals=None)


Figures = dict[str, JsonValue]


@dataclass(frozen=True)
class Row:
    """Pictures, the side that they are fitted into (None: their own), and classes of interest
    (None: the mean of all that are labelled).
    """

    name: str
    read: Callable[[], Pictures]
    side: int | None
    classes: tuple[int | None, ...]


@dataclass(frozen=True)
class Seen:
    """What a detector finds in a row's pictures, and what is there."""

    found: Sequence[ScoredBoxes]
    labels: Sequence[Labels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", required=True, metavar="F.cfg,F.weights|MODEL")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of rows; not given: all")
    parser.add_argument("--sides", type=int, nargs="*", help="pixels; not given: all, and native")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    models = [read_detector(name) for name in options.detectors]
    figures: list[Figures] = []
    for row in rows_of(options.data):
        if options.only and row.name not in options.only:
            continue
        if options.sides and row.side not in options.sides:
            continue
        pictures = row.read()
        figures += compare(row, [look(model, pictures, row.side) for model in models])
        options.to.write_text(json.dumps(figures, indent=1) + "\n")


def read_detector(name: str) -> Darknet:
    """Of Darknet's files, or of a model."""
    if "," in name:
        return DarknetFiles.named(name).load()
    return load_detector_model(find_model("detector", name))


def rows_of(data: Path) -> list[Row]:
    """In the order of the README's table."""

    def still(names: Iterable[str], labelling: Labelling, is_tenth: bool) -> Callable[[], Pictures]:
        folders = [data / "detect" / name for name in names]
        return lambda: read_folders(folders, labelling, is_tenth)

    def film(*names: str, by_people: bool = False) -> Callable[[], Pictures]:
        return lambda: read_videos([data / "video" / name for name in names], by_people)

    coco = still(("coco", "coco_more"), PEOPLE, is_tenth=False)
    rows = [Row("COCO", coco, 416, (None, *range(COCO_CLASSES)))]
    rows += [Row("COCO", coco, side, (None, PERSON, CAR)) for side in (512, 640)]
    for name in ("camvid", "dashcam_korea", "openimages_street", "pedestrian_street"):
        of = still((name,), PROPOSALS, is_tenth=True)
        rows += [Row(name, of, side, (PERSON, CAR)) for side in (416, 640)]
    montreal = still(("trafficcam_montreal",), PEOPLE, is_tenth=True)
    london = film(*(f"{name}.mp4" for name in LONDON_A13))
    return [
        *rows,
        Row("trafficcam_montreal", montreal, 416, (PERSON, CAR)),
        Row("vtest", film("vtest.avi", by_people=True), None, (PERSON,)),
        Row("tud_campus", film("tud_campus.mp4", by_people=True), None, (PERSON,)),
        Row("london_a13", london, None, (CAR,)),
        Row("london_a13", london, 416, (CAR,)),
        Row("motorway_haze", film("motorway_haze.mp4"), None, (CAR,)),
        Row("motorway_haze", film("motorway_haze.mp4"), 416, (CAR,)),
        Row("night_infrared_empty", film("night_infrared_empty.mp4"), 640, (PERSON,)),
        Row("shop_door", film("shop_door.mp4"), None, (PERSON,)),
    ]


def look(model: Darknet, pictures: Pictures, side: int | None) -> Seen:
    longest = max(max(picture.image.shape[:2]) for picture in pictures)
    prepared = prepare_pictures(pictures, side or -(-longest // 32) * 32)
    return Seen(detect_prepared(model, prepared, batch_size=4), prepared.labels)


def compare(row: Row, seen: Sequence[Seen]) -> list[Figures]:
    """Figures of a row, class by class."""
    labels = seen[0].labels
    draws = draw_pictures(len(labels))
    figures: list[Figures] = []
    for class_id in row.classes:
        pairs = [of_class(each, class_id) for each in seen]
        drawn = [mean_ap(match_boxes(*pair), draws=draws) for pair in pairs]
        gains = [interval(drawn[-1] - earlier) for earlier in drawn[:-1]]
        figures.append(
            {
                "row": row.name,
                "side": row.side or "native",
                "class": "all" if class_id is None else class_id,
                "pictures": len(labels),
                "boxes": sum(int((~each.is_ignored).sum()) for each in pairs[0][1]),
                "ap50": [rounded(each[0]) for each in drawn],
                "gain": [[rounded(end) for end in gain or ()] for gain in gains],
                "shown": [count_shown(each) for each in seen],
            }
        )
        print(json.dumps(figures[-1]), flush=True)  # noqa: T201  # a study's own output
    return figures


def of_class(seen: Seen, class_id: int | None) -> tuple[Sequence[ScoredBoxes], Sequence[Labels]]:
    if class_id is None:
        return seen.found, seen.labels
    labels = []
    for each in seen.labels:
        mine = each.class_ids == class_id
        labels.append(Labels(each.boxes_xyxy[mine], each.class_ids[mine], each.is_ignored[mine]))
    return seen.found, labels


def count_shown(seen: Seen) -> Figures:
    """Boxes that would be shown."""
    classes = np.concatenate([each.class_ids[each.scores >= SURE] for each in seen.found])
    in_street = int(np.isin(classes, STREET_CLASSES).sum())
    return {"street": in_street, "other": len(classes) - in_street}


def rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def read_folders(folders: Sequence[Path], labelling: Labelling, is_tenth: bool) -> Pictures:
    """All pictures, or the validation tenth of them."""
    entries = index_pictures(folders, {folder.name: labelling for folder in folders})
    return load_pictures([entry for entry in entries if entry.is_validation or not is_tenth])


def read_videos(videos: Sequence[Path], by_people: bool) -> Pictures:
    """The frames that are labelled, by people in `NAME.boxes.txt` (at most 80), else by the
    teacher in `NAME.apache.jsonl`.
    """
    pictures = []
    for video in videos:
        proposals = read_proposals(video.with_name(f"{video.stem}.apache.jsonl"))
        people = read_mot_boxes(video.with_name(f"{video.stem}.boxes.txt")) if by_people else {}
        wanted = sorted(people) if by_people else sorted(proposals)
        wanted = wanted[:: max(1, len(wanted) // 80)]
        for number, image in read_frames(video, wanted):
            h, w = image.shape[:2]
            boxes = in_parts(people[number], h, w) if by_people else proposals[number]
            name = f"{video.stem}_{number:05}"
            pictures.append(LoadedPicture(image, boxes, name, video.stem))
    return pictures


def read_frames(video: Path, wanted: Collection[int]) -> list[tuple[int, NDArray[np.uint8]]]:
    """Frames by their numbers, 1 being the first."""
    pictures = Video(str(video), keep_damaged=True).pictures()
    numbered = enumerate((picture.image for picture in pictures), start=1)
    return [(number, image) for number, image in numbered if number in wanted]


def read_proposals(path: Path) -> dict[int, Boxes]:
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {
        row["frame"]: np.asarray(row["boxes"], np.float32).reshape(-1, BOX_FIELDS) for row in rows
    }


def read_mot_boxes(path: Path) -> dict[int, list[list[float]]]:
    """Rows `left, top, width, height, flag` of each frame; flag 0 is to be ignored."""
    boxes: dict[int, list[list[float]]] = {}
    for line in path.read_text().splitlines():
        frame, _, *values = (float(field) for field in line.split(","))
        boxes.setdefault(int(frame), []).append(values[:5])
    return boxes


def in_parts(rows: Sequence[Sequence[float]], h: int, w: int) -> Boxes:
    """Persons as `class, cx, cy, w, h, confidence` in parts of the picture."""
    left, top, width, height, flag = np.asarray(rows, np.float32).T
    centre = (left + width / 2) / w, (top + height / 2) / h
    parts = (np.zeros_like(left), *centre, width / w, height / h, flag)
    together: Boxes = np.stack(parts, axis=1).astype(np.float32)
    return together


if __name__ == "__main__":
    main()
