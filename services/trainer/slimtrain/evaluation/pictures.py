"""Which pictures an evaluation is about, and what is known to be in them.

Labels lie beside the pictures (`folder/images`, `folder/labels`, as training has them), or in a
folder that is named, or nowhere: then what the detector sees in the uncompressed pictures stands in
for them. All pictures of one evaluation are of one kind.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from slimtrain.data.pictures import PictureEntry, decode_pictures, index_pictures, read_label_file


class EvaluationError(Exception):
    """The pictures, labels or operating points asked for cannot be evaluated."""


def choose_pictures(
    folders: Iterable[Path],
    labels: Path | None = None,
    keep: Callable[[str], bool] | None = None,
    limit: int | None = None,
    *,
    spread: bool = False,
) -> list[PictureEntry]:
    """The pictures of some folders, by folder and name.

    Args:
        folders: each with pictures, or with `images/` and perhaps `labels/`.
        labels: YOLO text for all of them; a picture without a file has no objects. None: what lies
            beside the pictures.
        keep: whether the picture of a file name takes part; None takes all.
        limit: only so many, the first.
        spread: instead of the first, since neighbours in a folder are often of one moment, those
            at even distances.

    Pictures that cannot be read are told and passed over.

    Raises:
        PictureError: a folder holds no picture, or a label cannot be read.
        EvaluationError: no picture is left, only some folders have labels, or none has a box.
    """
    entries = index_pictures(folders)
    kept = [e for e in entries if keep is None or keep(e.path.name)]
    if spread and limit is not None:
        count = min(limit, len(kept))
        kept = [kept[index * len(kept) // count] for index in range(count)]
    chosen = [entry for entry, _ in islice(decode_pictures(kept), limit)]
    if not chosen:
        raise EvaluationError(f"none of {len(entries)} pictures is left to evaluate")
    if labels is not None:
        chosen = [replace(e, boxes=read_label_file(labels / f"{e.path.stem}.txt")) for e in chosen]
    _check_labels(chosen, labels)
    return chosen


def _check_labels(pictures: list[PictureEntry], labels: Path | None) -> None:
    without = sorted({picture.source for picture in pictures if picture.boxes is None})
    labelled = sorted({picture.source for picture in pictures if picture.boxes is not None})
    if without and labelled:
        raise EvaluationError(
            f"{', '.join(labelled)} have labels, {', '.join(without)} have none; evaluate them "
            "one after the other"
        )
    if labelled and not any(p.boxes is not None and len(p.boxes) for p in pictures):
        raise EvaluationError(
            f"{labels or ', '.join(labelled)}: holds no box for any of {len(pictures)} pictures; "
            "expected <picture>.txt"
        )
