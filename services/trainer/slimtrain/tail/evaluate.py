"""How much of the detector survives the codec, at some (level, quality): torch, letterboxed.

This watches the second stage. The served path is measured by `slimtrain.evaluation.evaluate`.
"""

import torch
from torch import Tensor

from slimtrain.codec.loss import heads_lost, normalised_error
from slimtrain.data.pictures import Pictures
from slimtrain.detector.evaluate import PreparedPictures, detect_boxes, prepare_pictures
from slimtrain.figures.mean_average_precision import MIN_LABELS, ScoredBoxes, match_boxes, mean_ap
from slimtrain.loop.log import Cell
from slimtrain.tail.data import without_boxes
from slimtrain.tail.model import FrozenEncoder, Teacher, TunedDecoder


def prepare_validation(pictures: Pictures, image_size: int) -> PreparedPictures:
    """Letterbox the labelled pictures; without any, all pictures, as if nothing were in them."""
    labelled = [picture for picture in pictures if picture.boxes is not None]
    return prepare_pictures(labelled or without_boxes(pictures), image_size)


@torch.no_grad()
def evaluate_tail(
    encoder: FrozenEncoder,
    decoder: TunedDecoder,
    teacher: Teacher,
    prepared: PreparedPictures,
    point: tuple[int, float] | None,
    batch_size: int = 8,
) -> dict[str, Cell]:
    """Measure one (level, quality), or, for None, the teacher on the uncompressed pictures.

    Returns:
        A row: the shares of the teacher's features and heads that are lost, and mAP50 over the
        classes with enough labels (NaN without any).
    """
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
        found += detect_boxes(heads_hat, specs)
    features, at_heads = torch.cat(lost, 1).mean(1).tolist() if lost else (0.0, 0.0)
    level_of, quality_of = point or (None, None)
    return {
        "level": level_of,
        "quality": quality_of,
        "features": features,
        "heads": at_heads,
        "map50": float(mean_ap(match_boxes(found, prepared.labels), MIN_LABELS)[0]),
    }
