"""How much of the detector survives the codec, at some (level, quality): torch, letterboxed.

This watches the second stage. The served path is measured by `slimtrain.evaluation.evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slimnets.darknet.detector import HeadSpec
from slimtrain.codec.loss import normalised_error
from slimtrain.data.pictures import PackedPictures
from slimtrain.detector.evaluate import (
    CAR,
    MIN_LABELS,
    NOT_SCORED,
    PERSON,
    PreparedPictures,
    decode_candidates,
    prepare_pictures,
    suppress_candidates,
)
from slimtrain.figures.mean_average_precision import MIN_SCORE, ScoredBoxes, average_precision_50
from slimtrain.tail.data import without_boxes
from slimtrain.tail.loss import Teacher, heads_lost
from slimtrain.tail.model import FrozenEncoder, TunedDecoder


@dataclass(frozen=True, slots=True)
class TailFigures:
    """One operating point on the held-out pictures; the point of the uncompressed detector has no
    level.

    Args:
        features, heads: shares of the teacher's features and heads that are lost.
        map50: over classes with enough labels; None without labels. `person`, `car`: AP50.
    """

    level: int | None
    quality: float | None
    features: float
    heads: float
    map50: float | None
    person: float | None
    car: float | None


def prepare_validation(pictures: PackedPictures, image_size: int) -> PreparedPictures:
    """Letterbox the labelled pictures whose labels may be scored; without any, all pictures, as if
    nothing were in them.
    """
    scored = pictures.select(
        lambda index: (
            pictures.boxes[index] is not None and pictures.sources[index] not in NOT_SCORED
        )
    )
    return prepare_pictures(scored if len(scored) else without_boxes(pictures), image_size)


@torch.no_grad()
def evaluate_tail(
    encoder: FrozenEncoder,
    decoder: TunedDecoder,
    teacher: Teacher,
    prepared: PreparedPictures,
    point: tuple[int, float] | None,
    batch_size: int = 8,
) -> TailFigures:
    """Measure one (level, quality), or, for None, the teacher on the uncompressed pictures."""
    specs = decoder.tail.head_specs
    device = next(decoder.parameters()).device
    found: list[ScoredBoxes] = []
    lost: list[Tensor] = []
    for start in range(0, len(prepared.x), batch_size):
        x = prepared.x[start : start + batch_size].to(device).float() / 255
        x = x.contiguous(memory_format=torch.channels_last)
        f = teacher.features(x)
        heads = teacher.heads(f)
        heads_hat = heads
        if point is not None:
            level = torch.full((len(x),), point[0], device=device)
            quality = torch.full((len(x),), float(point[1]), device=device)
            y_hat = encoder(x, level, quality)
            with torch.autocast(device.type, torch.bfloat16):
                f_hat, heads_hat = decoder(y_hat, level)
            lost.append(
                torch.stack([normalised_error(f_hat, f), heads_lost(heads_hat, heads, specs)])
            )
        found += _boxes(heads_hat, specs)
    ap = average_precision_50(found, prepared.labels)
    features, at_heads = torch.cat(lost, 1).mean(1).tolist() if lost else (0.0, 0.0)
    level_of, quality_of = point or (None, None)
    return TailFigures(
        level_of,
        quality_of,
        features,
        at_heads,
        ap.mean_of(MIN_LABELS),
        ap.ap50_by_class.get(PERSON),
        ap.ap50_by_class.get(CAR),
    )


def _boxes(raw: Sequence[Tensor], specs: Sequence[HeadSpec]) -> list[ScoredBoxes]:
    boxes, scores, class_ids = decode_candidates([maps.float() for maps in raw], specs)
    kept = suppress_candidates(boxes, scores, class_ids) & (scores >= MIN_SCORE)
    return [
        ScoredBoxes(
            boxes_xyxy=boxes[i][keep].cpu().numpy(),
            scores=scores[i][keep].cpu().numpy(),
            class_ids=class_ids[i][keep].cpu().numpy(),
        )
        for i, keep in enumerate(kept)
    ]
