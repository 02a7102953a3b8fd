"""Which pictures an evaluation is about, and what is known to be in them.

Labels lie beside the pictures (`folder/images`, `folder/labels`, as training has them), or in a
folder that is named, or nowhere: then what the detector sees in the uncompressed pictures stands in
for them. All pictures of one evaluation are of one kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from slimtrain.data.pictures import Boxes, PictureError, index_pictures, read_label_file

Keep = Callable[[str], bool]
"""Whether a picture of this file name takes part."""


class EvaluationError(Exception):
    """The pictures, labels or operating points asked for cannot be evaluated."""


@dataclass(frozen=True)
class EvaluationPicture:
    """One picture on disk; `boxes` is None where nobody said what is in it."""

    path: Path
    source: str  # name of the folder that it comes from
    boxes: Boxes | None
    digest: str  # SHA-256 of the file


def choose_pictures(
    folders: Iterable[Path],
    labels: Path | None = None,
    keep: Keep | None = None,
    limit: int | None = None,
) -> list[EvaluationPicture]:
    """The pictures of some folders, by folder and name.

    Args:
        folders: each with pictures, or with `images/` and perhaps `labels/`.
        labels: YOLO text for all of them; a picture without a file has no objects. None: what lies
            beside the pictures.
        keep: None takes all.
        limit: only so many, the first.

    Raises:
        EvaluationError: there is no picture, only some folders have labels, or none has a box.
    """
    try:
        entries = index_pictures(folders)
    except PictureError as exc:
        raise EvaluationError(str(exc)) from exc
    chosen = [e for e in entries if keep is None or keep(e.path.name)][:limit]
    if not chosen:
        raise EvaluationError(f"none of {len(entries)} pictures is left to evaluate")
    pictures = [
        EvaluationPicture(
            path=entry.path,
            source=entry.source,
            boxes=read_label_file(labels / f"{entry.path.stem}.txt") if labels else entry.boxes,
            digest=hashlib.sha256(entry.path.read_bytes()).hexdigest(),
        )
        for entry in chosen
    ]
    _check_labels(pictures, labels)
    return pictures


def _check_labels(pictures: list[EvaluationPicture], labels: Path | None) -> None:
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
