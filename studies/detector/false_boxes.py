"""What a model shows by itself where nothing is: boxes with its own thresholds in frames without an
object, and on the sample street of classes that no street has.

    python -m studies.detector.false_boxes --model slim --data ../shared/data --to false-boxes.csv

A codec at each level and quality that is asked for; a detector, the pictures themselves.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from slimcli.models import open_model, open_runtime
from slimcodec.detection import Detection
from slimdetect.scores import SHOWN
from slimtrain.calibration.scores import open_detection
from studies.detector.evaluate import STREET_CLASSES, read_frames

SAMPLE = Path("samples/street.mp4")


@dataclass(frozen=True)
class Spell:
    """Every so many of the frames first to last, 1 being a video's first, in which there is nothing
    but `allowed`.
    """

    video: Path
    first: int
    last: int
    every: int
    allowed: tuple[int, ...] = ()


@dataclass(frozen=True)
class FalseBoxes:
    """What a model shows in a spell."""

    video: str
    frames: int
    frames_with_boxes: int
    boxes: int
    per_minute: float  # boxes, at the video's own rate
    labels: str  # how many of each, and their highest score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--levels", type=int, nargs="+", default=(0, 1, 2, 3))
    parser.add_argument("--qualities", type=int, nargs="+", default=(0, 2, 5))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    codec, detector = open_model(options.model, options.models)
    detect = open_detection(codec, detector, open_runtime(options.threads))
    spells = [(spell, read_spell(spell)) for spell in spells_of(options.data)]
    points = list(itertools.product(options.levels, options.qualities)) if codec else [(0, 0)]
    columns = ("model", "level", "quality", *(field.name for field in fields(FalseBoxes)))
    with options.to.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for point, (spell, frames) in itertools.product(points, spells):
            shown = [detect(frame, point, SHOWN) for frame in frames]
            where = dict(zip(("level", "quality"), point, strict=True)) if codec else {}
            counted = asdict(count_false(spell, shown))
            writer.writerow({"model": (codec or detector).label, **where, **counted})
            file.flush()


def spells_of(data: Path) -> list[Spell]:
    """As seen by eye: from frame 850 on somebody comes over the fence of the garden at night, and
    until 770 feet pass at the upper edge of the shop's picture.
    """
    video = data / "video"
    return [
        Spell(video / "night_infrared_empty.mp4", 1, 800, every=15),
        Spell(video / "shop_door.mp4", 770, 960, every=5),
        Spell(SAMPLE, 1, 10_000, every=5, allowed=STREET_CLASSES),
    ]


def read_spell(spell: Spell) -> list[NDArray[np.uint8]]:
    numbers = range(spell.first, spell.last + 1, spell.every)
    return [frame for _, frame in read_frames(spell.video, numbers)]


def count_false(spell: Spell, shown: Sequence[Sequence[Detection]]) -> FalseBoxes:
    """Of the boxes of each frame, those that are of a class which is not there."""
    false = [[box for box in boxes if box.class_id not in spell.allowed] for boxes in shown]
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for box in itertools.chain.from_iterable(false):
        scores[box.label].append(box.score)
    labels = sorted(scores.items(), key=lambda item: -len(item[1]))
    boxes = sum(map(len, false))
    with av.open(str(spell.video)) as file:
        rate = float(file.streams.video[0].average_rate or 25)
    return FalseBoxes(
        video=spell.video.name,
        frames=len(shown),
        frames_with_boxes=sum(map(bool, false)),
        boxes=boxes,
        per_minute=round(60 * rate * boxes / len(shown), 1),
        labels=", ".join(f"{len(of)} {label} to {max(of):.2f}" for label, of in labels),
    )


if __name__ == "__main__":
    main()
