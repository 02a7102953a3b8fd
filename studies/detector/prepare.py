"""Folders that `slimwire train detector` reads, from the data sets and videos of a data folder.

    DATA/detect/SET -links-> TO/SET                 DATA/video/NAME -frames, labelled-> TO/NAME
    DATA/codec/SET -links, labelled-> TO/SET        DATA/teacher/permissive/label.py labels

Boxes by people stay as they are; those of DEIMv2-femto become `proposals.jsonl`, without classes
that a place cannot hold (a motorway has no boat); regions that were labelled with something that
has no class become boxes of confidence 0.1, which training leaves out.

    python -m studies.detector.prepare --data ../shared/data --to /tmp/street
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
from PIL import Image

from slimcodec.image import load_image

SETS = (
    "camvid",
    "coco_person_only",
    "dashcam_korea",
    "indoor85",
    "jetson_misc",
    "mot17mini",
    "openimages_street",
    "pedestrian_street",
    "trafficcam_manaus",
    "trafficcam_montreal",
)
"""Never coco and coco_more, which measure."""
UNLABELLED_SETS = ("bsds500", "mcmaster_png")
VIDEOS = (
    "highway_signs.avi",
    "junction_wisconsin.mp4",
    "lane_pedestrians.mp4",
    "london_a12_bend.mp4",
    "london_cromwell_road.mp4",
    "london_shaftesbury_avenue.mp4",
    "london_st_james.mp4",
    "london_tooley_street.mp4",
    "mall_corridor.mpg",
    "motorway_tunnel.mp4",
    "one-by-one-person-detection.mp4",
    "residential_street.mp4",
)
"""Never vtest and tud_campus, which measure, and london_a13_*, motorway_haze, car-detection and
shop_door, which are for validation."""
FRAME_SECONDS = 0.4
STREET_CLASSES = frozenset((0, 1, 2, 3, 5, 7, 9, 11, 24, 26))
"""What a fixed camera over a street can show of COCO's classes, as DEIMv2-femto is to be
believed there: persons, vehicles, lights, stop signs, bags."""
NO_CLASS_CONFIDENCE = 0.1

Label = Callable[[Image.Image], Iterable[tuple[Any, float, int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    data: Path = options.data.absolute()
    label = load_labeller(data / "teacher" / "permissive" / "label.py")
    for name in SETS:
        link_set(data / "detect" / name, options.to / name)
    for name in UNLABELLED_SETS:
        label_pictures(data / "codec" / name, options.to / name, label)
    for name in VIDEOS:
        label_frames(data / "video" / name, options.to / Path(name).stem, label)


def load_labeller(path: Path) -> Label:
    """The teacher's `label`: a picture -> boxes in pixels, scores, COCO's classes."""
    spec = importlib.util.spec_from_file_location("label", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Label = module.label
    return found


def link_set(source: Path, to: Path) -> None:
    """A labelled set as it is, with boxes that have no class among the proposals."""
    to.mkdir(parents=True, exist_ok=True)
    link(source / "images", to / "images")
    if (source / "labels_gt.jsonl").exists():
        link(source / "labels_gt.jsonl", to / "people.jsonl")
    rows = read_rows(source / "labels_apache.jsonl")
    for name, boxes in read_rows(source / "labels_other.jsonl").items():
        unclassed = [[0, *box[1:], NO_CLASS_CONFIDENCE] for box in boxes]
        rows[name] = [*rows.get(name, []), *unclassed]
    write_rows(to / "proposals.jsonl", rows)


def label_pictures(source: Path, to: Path, label: Label) -> None:
    if (to / "proposals.jsonl").exists():
        return
    to.mkdir(parents=True, exist_ok=True)
    link(source, to / "images")
    paths = sorted(path for path in source.iterdir() if path.suffix in (".jpg", ".png"))
    rows = {path.name: propose(Image.fromarray(load_image(path)), label) for path in paths}
    write_rows(to / "proposals.jsonl", rows)


def label_frames(video: Path, to: Path, label: Label) -> None:
    """Frames of a fixed camera, so far apart that something has moved."""
    if (to / "proposals.jsonl").exists():
        return
    (to / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[list[float]]] = {}
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        every = max(1, round(float(stream.average_rate or 25) * FRAME_SECONDS))
        for number, frame in enumerate(file.decode(stream)):
            if number % every:
                continue
            picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
            name = f"{video.stem}_{number:05}.png"
            picture.save(to / "images" / name)
            boxes = propose(picture, label)
            rows[name] = [box for box in boxes if box[0] in STREET_CLASSES]
    write_rows(to / "proposals.jsonl", rows)


def propose(picture: Image.Image, label: Label) -> list[list[float]]:
    """Rows `class, cx, cy, w, h, score` in parts of the picture."""
    w, h = picture.size
    rows = []
    for (left, top, right, bottom), score, class_id in label(picture):
        cx, cy = (left + right) / 2 / w, (top + bottom) / 2 / h
        row = (cx, cy, (right - left) / w, (bottom - top) / h, score)
        rows.append([class_id, *(round(float(value), 5) for value in row)])
    return rows


def read_rows(path: Path) -> dict[str, list[list[float]]]:
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["image"]: row["boxes"] for row in rows}


def write_rows(path: Path, rows: dict[str, list[list[float]]]) -> None:
    lines = (json.dumps({"image": name, "boxes": boxes}) for name, boxes in rows.items())
    path.write_text("".join(f"{line}\n" for line in lines))


def link(source: Path, to: Path) -> None:
    to.unlink(missing_ok=True)
    to.symlink_to(source)


if __name__ == "__main__":
    main()
