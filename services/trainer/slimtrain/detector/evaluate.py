"""What a detector finds on validation pictures: torch model, letterboxed pictures -> average
precision by group.

    python -m slimtrain.detector.evaluate --cfg F --weights F --images DIR... [--image-size 416]

This watches training. The served path, with the codec in between, is measured by
`slimtrain.evaluation.evaluate`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from slimnets.darknet.detector import Darknet, HeadSpec, load_darknet_weights, parse_cfg
from slimtrain.data.pictures import PackedPictures, index_pictures, load_pictures
from slimtrain.figures.mean_average_precision import (
    MIN_SCORE,
    AveragePrecision,
    Labels,
    ScoredBoxes,
    labels_of,
    mean_average_precision,
)

LETTERBOX_GREY = 114
NMS_IOU = 0.5
MAX_CANDIDATES = 300
"""The best (box, class) pairs of a picture that go into suppression."""
PERSON, CAR = 0, 2
MIN_LABELS = 8
"""Classes with fewer labels in the validation pictures are too noisy to watch."""
NOT_SCORED = frozenset({"pedestrian_street", "caltech101", "indoor85", "mot17mini"})
"""Folders whose labels are known to be incomplete, or near-duplicates of training pictures."""
GROUPS: Mapping[str, frozenset[str]] = {
    "coco": frozenset({"coco"}),
    "street": frozenset({"camvid", "dashcam_korea", "openimages_street", "trafficcam_montreal"}),
}


@dataclass(frozen=True)
class PreparedPictures:
    """Letterboxed pictures as one uint8 tensor, their labels in letterbox pixels, and their
    folders.
    """

    x: Tensor  # (N, 3, S, S) uint8
    labels: list[Labels]
    sources: list[str]


def prepare_pictures(pictures: PackedPictures, image_size: int) -> PreparedPictures:
    """Fits every labelled picture into a grey square and moves its labels along."""
    x = np.full((len(pictures), image_size, image_size, 3), LETTERBOX_GREY, np.uint8)
    labels: list[Labels] = []
    for index, (image, boxes) in enumerate(zip(pictures.images, pictures.boxes, strict=True)):
        if boxes is None:
            raise ValueError(f"{pictures.names[index]}: has no labels")
        scale = image_size / max(image.shape[:2])
        h, w = (max(1, round(side * scale)) for side in image.shape[:2])
        top, left = (image_size - h) // 2, (image_size - w) // 2
        resized = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
        x[index, top : top + h, left : left + w] = np.asarray(resized)
        fitted = labels_of(boxes, (h, w))
        shift = np.asarray([left, top, left, top], np.float32)
        labels.append(Labels(fitted.boxes_xyxy + shift, fitted.class_ids, fitted.is_ignored))
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    return PreparedPictures(tensor, labels, list(pictures.sources))


@torch.inference_mode()
def detect_prepared(
    model: Darknet, prepared: PreparedPictures, batch_size: int = 16
) -> list[ScoredBoxes]:
    """Detections in letterbox pixels, from `MIN_SCORE`; the model stays in the mode it was in."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: list[ScoredBoxes] = []
    for start in range(0, len(prepared.x), batch_size):
        x = prepared.x[start : start + batch_size].to(device).float() / 255
        raw = [maps.float() for maps in model(x.contiguous(memory_format=torch.channels_last))]
        boxes, scores, class_ids = decode_candidates(raw, model.head_specs)
        kept = suppress_candidates(boxes, scores, class_ids) & (scores >= MIN_SCORE)
        for image in range(len(x)):
            keep = kept[image]
            found.append(
                ScoredBoxes(
                    boxes_xyxy=boxes[image][keep].cpu().numpy(),
                    scores=scores[image][keep].cpu().numpy(),
                    class_ids=class_ids[image][keep].cpu().numpy(),
                )
            )
    model.train(was_training)
    return found


def decode_candidates(
    raw: Sequence[Tensor], heads: Sequence[HeadSpec]
) -> tuple[Tensor, Tensor, Tensor]:
    """The best (box, class) pairs of each picture, best first: (B, K, 4), (B, K), (B, K)."""
    all_boxes: list[Tensor] = []
    all_scores: list[Tensor] = []
    for maps, head in zip(raw, heads, strict=True):
        B, _, h, w = maps.shape
        A, C, s = len(head.anchors), head.classes, head.scale_x_y
        t = maps.view(B, A, 5 + C, h, w).permute(0, 1, 3, 4, 2)  # (B, A, h, w, 5 + C)
        rows, columns = torch.meshgrid(
            torch.arange(h, device=maps.device), torch.arange(w, device=maps.device), indexing="ij"
        )
        cells = torch.stack([columns, rows], dim=-1).float()  # (h, w, 2) x, y
        centre = (t[..., :2].sigmoid() * s - (s - 1) / 2 + cells) * head.stride
        anchors = torch.tensor(head.anchors, device=maps.device).view(1, A, 1, 1, 2)
        half = t[..., 2:4].clamp(max=10).exp() * anchors / 2
        all_boxes.append(torch.cat([centre - half, centre + half], dim=-1).reshape(B, -1, 4))
        all_scores.append((t[..., 4:5].sigmoid() * t[..., 5:].sigmoid()).reshape(B, -1, C))
    boxes, scores = torch.cat(all_boxes, dim=1), torch.cat(all_scores, dim=1)
    C = scores.shape[-1]
    best, index = scores.flatten(1).topk(min(MAX_CANDIDATES, scores[0].numel()), dim=1)
    chosen = boxes.gather(1, (index // C)[..., None].expand(-1, -1, 4))
    return chosen, best, index % C


def suppress_candidates(boxes: Tensor, scores: Tensor, class_ids: Tensor) -> Tensor:
    """Per-class greedy suppression of a whole batch at once; rows are sorted by score. Returns (B,
    K) bool.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    union = area[:, :, None] + area[:, None, :] - overlap
    doubled = (overlap > NMS_IOU * union) & (class_ids[:, :, None] == class_ids[:, None, :])
    doubled = doubled.triu(diagonal=1)  # only the better one suppresses
    kept = torch.ones_like(scores, dtype=torch.bool)
    for rank in range(scores.shape[1]):
        kept = kept & ~(doubled[:, rank] & kept[:, rank : rank + 1])
    return kept


def evaluate_prepared(
    model: Darknet,
    prepared: PreparedPictures,
    measure: Callable[[Sequence[ScoredBoxes], Sequence[Labels]], AveragePrecision],
    batch_size: int = 16,
) -> dict[str, float | None]:
    """AP50 figures: `coco_map50`, `street_person`, `street_car`, and `all_map50` over classes with
    enough labels.
    """
    found = detect_prepared(model, prepared, batch_size)

    def of(sources: frozenset[str] | None) -> AveragePrecision:
        chosen = [
            index
            for index, source in enumerate(prepared.sources)
            if (source not in NOT_SCORED if sources is None else source in sources)
        ]
        return measure([found[i] for i in chosen], [prepared.labels[i] for i in chosen])

    everything, coco, street = of(None), of(GROUPS["coco"]), of(GROUPS["street"])
    return {
        "all_map50": everything.mean_of(MIN_LABELS),
        "coco_map50": coco.map50,
        "coco_person": coco.ap50_by_class.get(PERSON),
        "street_person": street.ap50_by_class.get(PERSON),
        "street_car": street.ap50_by_class.get(CAR),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one JSON line of figures for a Darknet model on the validation pictures of some
    folders.
    """
    parser = argparse.ArgumentParser(description="AP50 of a Darknet model on validation pictures")
    parser.add_argument("--cfg", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="picture folders")
    parser.add_argument("--image-size", type=int, default=416, help="letterbox side, pixels")
    chosen = parser.parse_args(arguments)
    model = Darknet(parse_cfg(chosen.cfg.read_text()))
    load_darknet_weights(model, chosen.weights)
    entries = [e for e in index_pictures(chosen.images) if e.is_validation and e.boxes is not None]
    prepared = prepare_pictures(load_pictures(entries), chosen.image_size)
    figures = evaluate_prepared(model, prepared, mean_average_precision)
    json.dump({"pictures": len(entries), "image_size": chosen.image_size, **figures}, sys.stdout)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
