"""Pictures and their boxes: an index of folders, and what of it is in memory.

    folder/images/*.jpg + boxes by people + boxes by a teacher network -index_pictures->
    [PictureEntry] -divide-> training, validation -load_pictures-> Pictures

A folder without `images/` holds its pictures directly and has no labels: such pictures train the
codec only. Where the boxes are, and what it means that there is none, says the folder's
`Labelling`.

A box is a row `class, cx, cy, w, h, confidence`, lengths in parts of the picture. The confidence is
1 for a box that a person drew and the teacher's score for a box that a teacher network proposed.
Boxes below `POSITIVE_CONFIDENCE` are neither objects nor background: the detector's loss leaves
them out.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.errors import ImageError
from slimcodec.image import files_in, load_image
from slimtrain.data.split import is_validation

logger = logging.getLogger(__name__)

BOX_FIELDS = 6
# teacher boxes below this score are ignored in training, neither object nor background
POSITIVE_CONFIDENCE = 0.35
# a label this close to a teacher box of its class *is* that box, and takes its confidence
SAME_BOX_IOU = 0.95
COVERED_IOU = 0.5  # a teacher box that overlaps a label of any class this much says nothing new
LONGEST_OUTSIDE = 0.5  # parts of the picture; what lies farther outside of it is no label

Boxes = NDArray[np.float32]  # (n, 6) float32: class, cx, cy, w, h, confidence
NO_BOXES: Boxes = np.zeros((0, BOX_FIELDS), np.float32)


@dataclass(frozen=True, slots=True)
class Labelling:
    """How the pictures of a folder are labelled; classes by their numbers."""

    # boxes by people: a folder of YOLO text files, or JSON lines; None: nobody drew any
    people: str | None = "labels"
    # boxes by a teacher network with their scores, JSON lines
    proposals: str | None = "labels_teacher.jsonl"
    # classes of which people boxed all there are; None: all classes
    complete: frozenset[int] | None = None
    # classes of which the proposals, too, are believed to be all there are
    proposed: frozenset[int] = frozenset()
    weight: float = 1.0  # how much more often the pictures are drawn

    def is_absent(self, num_classes: int) -> NDArray[np.bool_]:
        """(C,) whether no box means that nothing of the class is there; else nothing is known."""
        absent = np.full(num_classes, self.complete is None)
        absent[[*(self.complete or ()), *self.proposed]] = True
        return absent


class PictureError(Exception):
    """A picture folder or a label file that is not what it should be, or too little of it."""


@dataclass(frozen=True)
class PictureEntry:
    """One picture on disk. `boxes` is None where nobody said what is in it."""

    path: Path
    source: str
    boxes: Boxes | None
    is_validation: bool

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """A decoded picture in memory."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: Boxes | None  # None: nobody said what is in it
    name: str
    source: str  # its folder


Pictures = Sequence[LoadedPicture]


def index_pictures(
    folders: Iterable[Path], labellings: Mapping[str, Labelling] | None = None
) -> list[PictureEntry]:
    """All pictures of the folders, sorted by name within each folder.

    Args:
        labellings: by a folder's name; of the others people boxed all classes in `labels/`.

    Raises:
        PictureError: a folder holds no picture, or a label cannot be read.
    """
    entries: list[PictureEntry] = []
    for folder in folders:
        images = folder / "images"
        place = images if images.is_dir() else folder
        found = files_in(place) if place.is_dir() else []
        if not found:
            raise PictureError(f"{folder}: found no pictures; expected them there or in images/")
        labelling = (labellings or {}).get(folder.name, Labelling())
        boxes = _read_boxes(folder, labelling, found) if images.is_dir() else None
        entries += [
            PictureEntry(
                path, folder.name, boxes[path.name] if boxes else None, is_validation(path)
            )
            for path in found
        ]
    return entries


def _read_boxes(
    folder: Path, labelling: Labelling, pictures: Sequence[Path]
) -> dict[str, Boxes] | None:
    """The boxes of each picture by its name; None where neither people nor a teacher looked."""
    names = [path.name for path in pictures]
    proposals = read_teacher_boxes(folder / labelling.proposals) if labelling.proposals else {}
    if labelling.people is not None and (by_people := folder / labelling.people).exists():
        if by_people.is_dir():
            people = {p.name: read_label_file(by_people / f"{p.stem}.txt") for p in pictures}
        else:
            people = read_teacher_boxes(by_people)
        return {
            name: merge_teacher_boxes(
                people.get(name, NO_BOXES), proposals.get(name), labelling.complete
            )
            for name in names
        }
    if labelling.people is not None or not proposals:
        return None
    return {name: proposals.get(name, NO_BOXES) for name in names}


def divide(entries: Iterable[PictureEntry]) -> tuple[list[PictureEntry], list[PictureEntry]]:
    """Those to train on and those for validation, as `slimtrain.data.split` says by their names.

    Whatever learns from pictures takes the first list: weights and entropy tables.
    """
    parts: tuple[list[PictureEntry], list[PictureEntry]] = ([], [])
    for entry in entries:
        parts[entry.is_validation].append(entry)
    return parts


def load_divided(
    folders: Iterable[Path],
    max_edge: int,
    say: Callable[[str], None] = logger.info,
    labellings: Mapping[str, Labelling] | None = None,
) -> tuple[Pictures, Pictures]:
    """The pictures to train on and those for validation, in memory.

    Args:
        max_edge: longest side there, pixels.
        say: is told how many they are.
        labellings: as `index_pictures` takes them.

    Raises:
        PictureError: too few for both.
    """
    training, validation = divide(index_pictures(folders, labellings))
    if not training or not validation:
        raise PictureError(
            f"{len(training)} pictures to train on and {len(validation)} for validation, which is "
            "one in ten by name; give more pictures"
        )
    say(f"{len(training)} pictures to train on, {len(validation)} for validation")
    return load_pictures(training, max_edge), load_pictures(validation, max_edge)


def read_label_file(path: Path) -> Boxes:
    """The boxes of one YOLO text file, each with confidence 1; no file means no objects."""
    if not path.exists():
        return NO_BOXES
    return _to_boxes([(line.split(), place) for place, line in text_lines(path)], has_scores=False)


def read_teacher_boxes(path: Path) -> dict[str, Boxes]:
    """Boxes by file name, or by frame of a video, from JSON lines (none: empty). A box without a
    score is a person's.
    """
    if not path.exists():
        return {}
    boxes: dict[str, Boxes] = {}
    for place, line in text_lines(path):
        try:
            row = json.loads(line)
            name = str(row["frame"] if "frame" in row else row["image"])
            found = [(list(box), place) for box in row["boxes"]]
        except (ValueError, TypeError, KeyError) as exc:
            raise PictureError(
                f'{place}: expected {{"image": NAME, "boxes": [[class, cx, cy, w, h, score]]}}'
            ) from exc
        boxes[name] = _to_boxes(found)
    return boxes


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, each with its place for a message."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PictureError(f"{path}: no UTF-8 text") from exc
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line


def _to_boxes(rows: Iterable[tuple[Sequence[Any], str]], has_scores: bool = True) -> Boxes:
    """Rows and their places, unless one cannot be right: a class that is no number, pixels instead
    of parts. A confidence that is not there is 1.
    """
    boxes: list[list[float]] = []
    for given, place in rows:
        try:
            row = [float(field) for field in given]
        except (TypeError, ValueError):
            row = []
        if len(row) == BOX_FIELDS - 1:
            row.append(1.0)
        elif not has_scores:
            row = []
        if (
            len(row) != BOX_FIELDS
            or not all(map(math.isfinite, row))
            or row[0] < 0
            or row[0] % 1
            or min(row[1:]) < -LONGEST_OUTSIDE
            or max(row[1:]) > 1 + LONGEST_OUTSIDE
            or min(row[3:]) < 0
        ):
            raise PictureError(
                f"{place}: {given} cannot be a box; expected `class cx cy w h`, the class from 0 "
                "on, the others in parts of the picture (0 to 1)"
            )
        boxes.append(row)
    return np.asarray(boxes, np.float32).reshape(-1, BOX_FIELDS)


def merge_teacher_boxes(
    labels: Boxes, teacher: Boxes | None, complete: frozenset[int] | None = None
) -> Boxes:
    """Labels with the teacher's confidence where a label is a teacher's box, and the teacher's
    others.

    A teacher box that no label covers, of a class in `complete` (None: all), gets a confidence
    below `POSITIVE_CONFIDENCE`, so that the loss ignores it: there the labels are the authority on
    what counts as an object.
    """
    if teacher is None or len(teacher) == 0:
        return labels
    iou = box_overlap(box_corners(labels), box_corners(teacher))  # (labels, teacher)
    merged = labels.copy()
    same_class = labels[:, None, 0] == teacher[None, :, 0]
    same = np.where(same_class, iou, 0.0)
    is_teacher_box = same.max(axis=1, initial=0.0) >= SAME_BOX_IOU
    merged[is_teacher_box, 5] = teacher[same.argmax(axis=1)[is_teacher_box], 5]
    others = teacher[iou.max(axis=0, initial=0.0) < COVERED_IOU]
    is_doubted = np.isin(others[:, 0], list(complete)) if complete is not None else True
    unsure = np.minimum(others[:, 5], POSITIVE_CONFIDENCE - 0.01)
    others[:, 5] = np.where(is_doubted, unsure, others[:, 5])
    together: Boxes = np.concatenate([merged, others]).astype(np.float32)
    return together


def box_overlap(
    a_xyxy: NDArray[np.float32],
    b_xyxy: NDArray[np.float32],
    is_crowd: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes, (n, 4), (m, 4) -> (n, m); with a crowd's box,
    of which each may be a part, over the area of the first, as COCO has it.
    """
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[:, :2]).astype(np.float64)
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    a_area, b_area = (box_xywh(boxes)[:, 2:].prod(axis=1) for boxes in (a_xyxy, b_xyxy))
    whole = a_area[:, None] + b_area - shared
    if is_crowd is not None:
        whole = np.where(is_crowd, a_area[:, None], whole)
    overlap: NDArray[np.float64] = shared / np.maximum(whole, 1e-9)
    return overlap


def box_xywh(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Corners -> left, top, width, height."""
    low, high = boxes_xyxy[:, :2].astype(np.float64), boxes_xyxy[:, 2:].astype(np.float64)
    return np.hstack([low, high - low])


def box_corners(boxes: Boxes) -> NDArray[np.float32]:
    """(n, 6) -> (n, 4) corners, in parts of the picture."""
    half = boxes[:, 3:5] / 2
    return np.concatenate([boxes[:, 1:3] - half, boxes[:, 1:3] + half], axis=1)


def read_picture(path: Path, max_edge: int | None = None) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB, upright, its longest side shrunk to `max_edge` pixels at most."""
    image = load_image(path)
    longest = max(image.shape)
    if max_edge is None or longest <= max_edge:
        return image
    h, w = (max(1, round(side * max_edge / longest)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.LANCZOS))


def decode_pictures(
    entries: Iterable[PictureEntry], max_edge: int | None = None
) -> Iterator[tuple[PictureEntry, NDArray[np.uint8]]]:
    """Each picture with its image; those that cannot be read are told and passed over."""
    bad = 0
    for entry in entries:
        try:
            image = read_picture(entry.path, max_edge)
        except (ImageError, OSError) as exc:
            logger.warning("passed over: %s", exc)
            bad += 1
            continue
        yield entry, image
    if bad:
        logger.warning("%d pictures passed over", bad)


def load_pictures(entries: Sequence[PictureEntry], max_edge: int | None = None) -> Pictures:
    """Read and decode them all.

    Raises:
        PictureError: none of them can be read.
    """
    pictures = [
        LoadedPicture(image, entry.boxes, entry.path.name, entry.source)
        for entry, image in decode_pictures(entries, max_edge)
    ]
    if not pictures:
        raise PictureError(f"none of {len(entries)} pictures can be read")
    return pictures
