"""What a model's scores mean: told against found.

    python -m studies.detector.reliability --model yolo-fastest-street --to /tmp/reliability
        --images ../shared/data/detect/coco ../shared/data/detect/coco_more

reliability.png and reliability.csv: of boxes by their score, how many are right; raw, and as told
by what was fitted to the other half of the pictures.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from slimcli.models import open_model, open_runtime
from slimcodec.graph.runtime import Runtime
from slimcodec.image import load_image
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimtrain.calibration.scores import look, tell_halves
from slimtrain.data.pictures import Labelling, index_pictures
from slimtrain.data.split import is_reported
from slimtrain.figures.mean_average_precision import ClassMatches, labels_of, match_boxes

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Boxes whose scores lie in one tenth of the scale."""

    scores: str
    boxes: int
    mean_score: float
    right: float  # part of the boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    codec, detector = open_model(options.model, options.models)
    runtime = open_runtime(options.threads)
    matches, halves = match_pictures(codec, detector, runtime, options.images)
    bins = bins_of_both(matches, halves, len(detector.names))
    rows = [{"kind": kind, **asdict(each)} for kind, of_kind in bins.items() for each in of_kind]
    write_rows(options.to / "reliability.csv", rows)
    plot_reliability(bins, options.to / "reliability.png")


def match_pictures(
    codec: CodecArtifact | None,
    detector: DetectorArtifact,
    runtime: Runtime,
    folders: Sequence[Path],
) -> tuple[list[ClassMatches], NDArray[np.bool_]]:
    """Boxes right and wrong, and which half each picture is in."""
    by_people = {folder.name: Labelling(proposals=None) for folder in folders}
    entries = index_pictures(folders, by_people)
    pictures = [load_image(entry.path) for entry in entries]
    labels = [
        labels_of(entry.boxes, (image.shape[0], image.shape[1]))
        for entry, image in zip(entries, pictures, strict=True)
        if entry.boxes is not None
    ]
    halves = np.array([is_reported(entry.path.name) for entry in entries])
    return match_boxes(list(look(codec, detector, runtime, pictures)), labels), halves


def bins_of_both(
    matches: Sequence[ClassMatches], halves: NDArray[np.bool_], classes: int
) -> dict[str, list[Bin]]:
    """Of all classes together: raw scores, and those told by the other half."""
    told = [(scores, match.is_hit) for match, _, scores in tell_halves(matches, halves, classes)]
    raw = [(match.scores, match.is_hit) for match in matches]
    return {
        kind: bin_scores(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        for kind, parts in (("raw", raw), ("calibrated", told))
    }


def bin_scores(scores: NDArray[np.float32], is_right: NDArray[np.bool_]) -> list[Bin]:
    """Bins that hold a box, lowest first."""
    index = np.minimum((scores * BINS).astype(int), BINS - 1)
    return [
        Bin(
            scores=f"{i / BINS:g}-{(i + 1) / BINS:g}",
            boxes=int((index == i).sum()),
            mean_score=round(float(scores[index == i].mean()), 3),
            right=round(float(is_right[index == i].mean()), 3),
        )
        for i in np.unique(index)
    ]


def plot_reliability(bins: dict[str, list[Bin]], path: Path) -> None:
    """The part that is right over the score, with a standard error; the diagonal means what it
    says.
    """
    figure = Figure(figsize=(6, 6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    for kind, of_kind in bins.items():
        right, boxes = (
            np.array([getattr(b, name) for b in of_kind]) for name in ("right", "boxes")
        )
        error = np.sqrt(right * (1 - right) / boxes)
        axes.errorbar([b.mean_score for b in of_kind], right, error, marker="o", label=kind)
    axes.set(xlabel="score", ylabel="part of the boxes that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.savefig(path)


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
