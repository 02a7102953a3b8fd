"""What a detector finds on validation pictures: torch model, letterboxed pictures -> average
precision, of all and by folder.

This watches training. The served path, with the codec in between, is measured by
`slimtrain.evaluation.evaluate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from slimdetect.boxes import decode_heads, suppress
from slimdetect.detector import IOU_THRESHOLD, MAX_DETECTIONS
from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import HeadSpec
from slimtrain.data.pictures import Pictures
from slimtrain.figures.mean_average_precision import (
    MIN_LABELS,
    MIN_SCORE,
    Labels,
    ScoredBoxes,
    labels_of,
    match_boxes,
    mean_ap,
)
from slimtrain.loop.log import Cell

LETTERBOX_GREY = 114


@dataclass(frozen=True)
class PreparedPictures:
    """Letterboxed pictures, their labels in pixels of these, and their folders."""

    x: Tensor  # (N, 3, S, S) uint8
    contents_xyxy: NDArray[np.float32]  # (N, 4) what of each square is the picture, pixels
    labels: list[Labels]
    sources: list[str]


def prepare_pictures(pictures: Pictures, image_size: int) -> PreparedPictures:
    """Fit every labelled picture into a grey square and move its labels along."""
    x = np.full((len(pictures), image_size, image_size, 3), LETTERBOX_GREY, np.uint8)
    contents_xyxy = np.zeros((len(pictures), 4), np.float32)
    labels: list[Labels] = []
    for index, picture in enumerate(pictures):
        image, boxes = picture.image, picture.boxes
        if boxes is None:
            raise ValueError(f"{picture.name}: has no labels")
        scale = image_size / max(image.shape[:2])
        h, w = (max(1, round(side * scale)) for side in image.shape[:2])
        top, left = (image_size - h) // 2, (image_size - w) // 2
        resized = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
        x[index, top : top + h, left : left + w] = np.asarray(resized)
        contents_xyxy[index] = left, top, left + w, top + h
        fitted = labels_of(boxes, (h, w))
        shift = np.asarray([left, top, left, top], np.float32)
        labels.append(Labels(fitted.boxes_xyxy + shift, fitted.class_ids, fitted.is_ignored))
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    sources = [picture.source for picture in pictures]
    return PreparedPictures(tensor, contents_xyxy, labels, sources)


@torch.inference_mode()
def detect_prepared(
    model: Darknet, prepared: PreparedPictures, batch_size: int = 16
) -> list[ScoredBoxes]:
    """What the model finds in each picture. It stays in the mode it was in."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: list[ScoredBoxes] = []
    for start in range(0, len(prepared.x), batch_size):
        x = prepared.x[start : start + batch_size].to(device).float() / 255
        raw = model(x.contiguous(memory_format=torch.channels_last))
        contents_xyxy = prepared.contents_xyxy[start : start + batch_size]
        found += detect_boxes(raw, model.head_specs, contents_xyxy)
    model.train(was_training)
    return found


def evaluate_prepared(model: Darknet, prepared: PreparedPictures) -> list[dict[str, Cell]]:
    """AP50 over all pictures, then of each of several folders; nothing without pictures."""
    found, folders = detect_prepared(model, prepared), sorted(set(prepared.sources))
    parts = [("all", folders)] if folders else []
    parts += [(folder, [folder]) for folder in folders] if len(folders) > 1 else []
    rows: list[dict[str, Cell]] = []
    for name, of in parts:
        index = [i for i, source in enumerate(prepared.sources) if source in of]
        matches = match_boxes([found[i] for i in index], [prepared.labels[i] for i in index])
        of_all, of_frequent = mean_ap(matches), mean_ap(matches, MIN_LABELS)
        figures = {"map50": float(of_all[0]), "map50_frequent": float(of_frequent[0])}
        rows.append({"folder": name, "pictures": len(index), **figures})
    return rows


def detect_boxes(
    raw: Sequence[Tensor], heads: Sequence[HeadSpec], contents_xyxy: NDArray[np.float32]
) -> list[ScoredBoxes]:
    """Detections of each picture from `MIN_SCORE` on, best first, read, kept and clipped as the
    cloud does it.

    Args:
        raw: maps of each head, (B, A * (5 + classes), h, w).
        contents_xyxy: (B, 4) as `PreparedPictures` has them.
    """
    found: list[ScoredBoxes] = []
    by_picture = zip(*(head.float().cpu().numpy() for head in raw), strict=True)
    for maps, content in zip(by_picture, contents_xyxy, strict=True):
        candidates = decode_heads(maps, heads, MIN_SCORE)
        kept = suppress(*candidates, IOU_THRESHOLD, MAX_DETECTIONS)
        boxes = np.clip(candidates.boxes_xyxy[kept], *np.tile(content.reshape(2, 2), 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        kept = kept[inside]
        found.append(
            ScoredBoxes(boxes[inside], candidates.scores[kept], candidates.class_ids[kept])
        )
    return found
