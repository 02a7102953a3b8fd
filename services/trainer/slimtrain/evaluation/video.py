"""A camera's clip: frames of a video at a rate, and what is known to be in them.

    video -the command's reader-> TimedImage -read_clip-> Clip
    NAME.txt (MOT), NAME.jsonl (a teacher's), NAME/ (YOLO text) -read_video_labels-> VideoLabels

Frames and boxes meet by the frame's number in the video's file, from 1 on, as MOTChallenge counts.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimtrain.data.pictures import PictureError, read_label_file, read_teacher_boxes, text_lines
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.figures.mean_average_precision import Labels, labels_of

CLASSES = ("person", "car")  # that are scored: what a fixed camera looks for
# Source: Milan et al.: MOT16, arXiv:1603.00831, table 3: pedestrian, car; person on a vehicle,
# static person, distractor, reflection are nobody's mistake. -1 is a set of persons alone.
_MOT_CLASSES = {-1: "person", 1: "person", 3: "car"}
_MOT_IGNORED = {2, 7, 8, 12}
_MIN_RATE_SHARE = 0.9  # of the frames a second that were asked for; a slower video cannot give them
_NUMBER = re.compile(r"(\d+)$")  # of the frame, at the end of a YOLO file's name

Image = NDArray[np.uint8]
# number in the file, from 1 on; seconds after the first one; (H, W, 3) RGB
TimedImage = tuple[int, float, Image]


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one camera, in memory: three bytes a pixel."""

    camera: str
    fps: float
    noise: float  # standard deviation of the sensor noise that was added, 0 to 255
    numbers: Sequence[int]
    images: Sequence[Image]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every pixel."""
        return hashlib.sha256(b"".join(image.tobytes() for image in self.images)).hexdigest()


def read_clip(
    camera: str,
    frames: Iterable[TimedImage],
    fps: float,
    limit: int | None = None,
    noise: float = 0,
) -> Clip:
    """A clip of what a reader gives of a video.

    Args:
        frames: as a camera of `fps` frames a second would have taken them.
        limit: only the first so many.
        noise: standard deviation of the Gaussian noise that each value gets, the same on every run.

    Raises:
        EvaluationError: the video has fewer frames a second.
    """
    numbers: list[int] = []
    images: list[Image] = []
    seconds = 0.0
    for number, due, image in frames:
        seconds = due
        numbers.append(number)
        images.append(_with_noise(image, noise, number))
        if len(images) == limit:
            break
    if len(images) - 1 < _MIN_RATE_SHARE * int(seconds * fps):
        given = (len(images) - 1) / seconds
        raise EvaluationError(f"{camera}: gives {given:.3g} frames/s; {fps:g} were asked for")
    return Clip(camera, fps, noise, numbers, images)


def _with_noise(image: Image, sigma: float, seed: int) -> Image:
    if not sigma:
        return image
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class VideoLabels:
    """Boxes that somebody drew into a video."""

    source: str
    by_number: Mapping[int, Labels]  # of frames that have some
    class_ids: frozenset[int]  # that were looked for; boxes of others are neither right nor wrong
    all_frames: bool  # whether a frame without a row has nothing in it; else nobody looked at it

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        said = hashlib.sha256(repr((sorted(self.class_ids), self.all_frames)).encode())
        for number, labels in sorted(self.by_number.items()):
            parts = (np.int64(number), labels.boxes_xyxy, labels.class_ids, labels.is_ignored)
            said.update(b"".join(part.tobytes() for part in parts))
        return said.hexdigest()

    def of_frame(self, number: int) -> Labels | None:
        """The boxes of a frame; None where nobody looked at it."""
        there = self.by_number.get(number)
        return _to_labels([]) if there is None and self.all_frames else there


def find_labels(videos: Iterable[Path], labels: Sequence[Path]) -> dict[Path, Path | None]:
    """Which labels are of which video: those whose name begins with its name; one of one, always.

    Raises:
        EvaluationError: labels that are of none of the videos, or two of one.
    """
    found: dict[Path, Path | None] = dict.fromkeys(videos)
    for path in labels:
        fitting = [v for v in found if path.name == v.stem or path.name.startswith(f"{v.stem}.")]
        if not fitting and len(found) == len(labels) == 1:
            fitting = list(found)
        if len(fitting) != 1 or found[fitting[0]] is not None:
            raise EvaluationError(
                f"{path}: is of {len(fitting)} of the videos; expected one file or folder for "
                "each, named as the video is: street.txt of street.mp4"
            )
        found[fitting[0]] = path
    return found


def read_video_labels(path: Path, image_hw: tuple[int, int], names: Sequence[str]) -> VideoLabels:
    """The boxes in a video.

    Args:
        path: MOT text; a `.jsonl` file with a row `{"frame": 1, "boxes": [[class, cx, cy, w, h,
            score]]}` for each frame that was looked at; or a folder of YOLO text with a file for
            each frame that has boxes, whose name ends in the frame's number.
        image_hw: of the video's frames, pixels.
        names: the detector's classes, which the last two number.

    Raises:
        PictureError: a line that cannot be a box; file and line are named.
    """
    scored = [names.index(name) for name in CLASSES]
    is_partial = path.suffix == ".jsonl"
    if is_partial:
        boxes = {_frame_number(Path(k)): found for k, found in read_teacher_boxes(path).items()}
    elif path.is_dir():
        files = {_frame_number(file): file for file in sorted(path.glob("*.txt"))}
        boxes = {number: read_label_file(file) for number, file in files.items()}
    if is_partial or path.is_dir():
        by_number = {number: labels_of(found, image_hw) for number, found in boxes.items()}
    else:
        by_number = _read_mot(path, names)
    there = {int(c) for labels in by_number.values() for c in labels.class_ids}
    told = there.intersection(scored) or set(scored)
    return VideoLabels(path.name, by_number, frozenset(told), not is_partial)


def _frame_number(path: Path) -> int:
    found = _NUMBER.search(path.stem)
    if found is None:
        raise PictureError(f"{path}: expected a name that ends in the frame's number")
    return int(found[1])


def _read_mot(path: Path, names: Sequence[str]) -> dict[int, Labels]:
    """Source: https://motchallenge.net/instructions, `gt.txt`; flag 0 is to be ignored."""
    boxes: defaultdict[int, list[tuple[float, ...]]] = defaultdict(list)
    for place, line in text_lines(path):
        try:
            frame, _, left, top, w, h, flag, *rest = (float(field) for field in line.split(","))
            number, kind = int(frame), int(rest[0]) if rest else -1
            if not (number == frame >= 1 and np.isfinite([left, top, w, h]).all() and w > 0 < h):
                raise ValueError
        except (ValueError, OverflowError):
            raise PictureError(
                f"{place}: {line!r} cannot be a box; expected MOT's "
                "`frame,id,left,top,width,height,flag[,class,visibility]` in pixels, frames from 1"
            ) from None
        if kind in _MOT_CLASSES or kind in _MOT_IGNORED:
            class_id = names.index(_MOT_CLASSES.get(kind, "person"))
            is_ignored = kind in _MOT_IGNORED or not flag
            boxes[number].append((left, top, left + w, top + h, class_id, is_ignored))
    return {number: _to_labels(rows) for number, rows in boxes.items()}


def _to_labels(rows: Sequence[Sequence[float]]) -> Labels:
    table = np.asarray(rows, np.float32).reshape(-1, 6)
    return Labels(table[:, :4], table[:, 4].astype(np.int64), table[:, 5] > 0)
