"""The detector's training loss: raw head maps, targets -> box, objectness and class losses.

    targets (B, T, 6) -every anchor within a factor of 4, every cell whose sigmoid can reach the
    centre-> candidates
    candidates -CIoU-> box loss; -IoU times confidence-> objectness target; -BCE-> class loss

Everything is dense with fixed shapes (B, T, A, cells), masked instead of selected: nothing waits
for the device.

Source: heads: Redmon and Farhadi, YOLOv3, 2018, https://arxiv.org/abs/1804.02767; CIoU: Zheng et
al., AAAI 2020, https://arxiv.org/abs/1911.08287; several anchors per object and stretched centres:
Bochkovskiy et al., YOLOv4, 2020, section 3.4, https://arxiv.org/abs/2004.10934.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from slimnets.darknet.layers import HeadSpec
from slimtrain.data.pictures import POSITIVE_CONFIDENCE

MAX_SIDE_FACTOR = 4.0
"""A target belongs to every anchor whose sides are within this factor of its own."""
BOX_WEIGHT = 0.05
OBJECTNESS_WEIGHT = 0.6
CLASS_WEIGHT = 0.4
OBJECTNESS_BALANCE = {8: 4.0, 16: 1.0, 32: 0.4}
"""By stride: a fine map has more cells, and a smaller share of them holds an object."""
MAX_LOG_SIDE = 4.0
"""Bound on the raw side: exp(4) is 55 anchors; keeps an early outlier from becoming infinite."""

_NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""Cells, x before y, that may answer for a target: its own and the four beside it."""


@dataclass(frozen=True)
class DetectorLoss:
    """Scalars on the device; `total` is the weighted sum that is differentiated."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


def detector_loss(
    raw: Sequence[Tensor], targets: Tensor, heads: Sequence[HeadSpec]
) -> DetectorLoss:
    """Losses of one batch.

    Args:
        raw: per head (B, A * (5 + C), h, w), any float dtype; computed in float32.
        targets: (B, T, 6) class, cx, cy, w, h in pixels, confidence; rows with w = 0 are empty,
        rows below
            `POSITIVE_CONFIDENCE` are left out of everything.
    """
    parts = [_head_loss(maps.float(), targets, head) for maps, head in zip(raw, heads, strict=True)]
    box = torch.stack([part[0] for part in parts]).sum()
    objectness = torch.stack([part[1] for part in parts]).sum()
    classes = torch.stack([part[2] for part in parts]).sum()
    total = BOX_WEIGHT * box + OBJECTNESS_WEIGHT * objectness + CLASS_WEIGHT * classes
    return DetectorLoss(total, box.detach(), objectness.detach(), classes.detach())


def _head_loss(maps: Tensor, targets: Tensor, head: HeadSpec) -> tuple[Tensor, Tensor, Tensor]:
    B, _, h, w = maps.shape
    A, C = len(head.anchors), head.classes
    cells_per_image = A * h * w
    anchors = _constant(head.anchors, maps.device)  # (A, 2)
    by_cell = maps.view(B, A, 5 + C, h, w).permute(0, 1, 3, 4, 2)  # (B, A, h, w, 5 + C)

    # Which (target, anchor, neighbour cell) belong together: (B, T, A, L), L = 5.
    side = targets[..., None, 3:5]  # (B, T, 1, 2)
    ratio = side / anchors
    fits = torch.maximum(ratio, 1 / ratio.clamp(min=1e-6)).amax(-1) < MAX_SIDE_FACTOR  # (B, T, A)
    exists = targets[..., 3] > 0
    centre = targets[..., 1:3] / head.stride  # (B, T, 2) in cells
    steps = _constant(_NEIGHBOURS, maps.device)  # (L, 2)
    cell = centre.floor()[..., None, :] + steps  # (B, T, L, 2)
    reach = (head.scale_x_y - 1) / 2
    offset = centre[..., None, :] - cell  # wanted centre, seen from the cell
    reachable = ((offset > -reach) & (offset < 1 + reach)).all(-1)
    reachable = reachable | (steps == 0).all(-1)  # its own cell always
    limit = _constant(((w, h),), maps.device)
    reachable = reachable & ((cell >= 0) & (cell < limit)).all(-1)  # (B, T, L)
    matched = fits[..., None] & (reachable & exists[..., None])[:, :, None, :]  # (B, T, A, L)
    is_positive = (targets[..., 5] >= POSITIVE_CONFIDENCE)[..., None, None]
    positive = matched & is_positive
    ignored = matched & ~is_positive

    T, L = matched.shape[1], matched.shape[3]
    column = cell[..., 0].clamp(0, w - 1).long()[:, :, None].expand(B, T, A, L)
    row = cell[..., 1].clamp(0, h - 1).long()[:, :, None].expand(B, T, A, L)
    anchor_index = torch.arange(A, device=maps.device).view(1, 1, A, 1).expand(B, T, A, L)
    image_index = torch.arange(B, device=maps.device).view(B, 1, 1, 1).expand(B, T, A, L)
    predicted = by_cell[image_index, anchor_index, row, column]  # (B, T, A, L, 5 + C)

    s = head.scale_x_y
    predicted_offset = predicted[..., :2].sigmoid() * s - (s - 1) / 2
    predicted_side = predicted[..., 2:4].clamp(max=MAX_LOG_SIDE).exp() * (
        anchors[:, None] / head.stride
    )
    wanted_offset = offset[:, :, None].expand(B, T, A, L, 2)
    wanted_side = (targets[..., 3:5] / head.stride)[:, :, None, None].expand(B, T, A, L, 2)
    # An unmatched slot gets a harmless box, so that its masked value has a finite gradient.
    safe = matched[..., None]
    iou, ciou = complete_iou(
        torch.where(safe, predicted_offset, 0.5),
        torch.where(safe, predicted_side, 1.0),
        torch.where(safe, wanted_offset, 0.5),
        torch.where(safe, wanted_side, 1.0),
    )
    weight = positive.float() * targets[..., 5, None, None]
    total_weight = weight.sum().clamp(min=1.0)
    box_loss = ((1 - ciou) * weight).sum() / total_weight

    class_ids = torch.arange(C, device=maps.device)
    class_target = (targets[..., :1] == class_ids).float()  # (B, T, C)
    class_bce = functional.binary_cross_entropy_with_logits(
        predicted[..., 5:], class_target[:, :, None, None].expand(B, T, A, L, C), reduction="none"
    ).mean(-1)
    class_loss = (class_bce * weight).sum() / total_weight

    slot = ((image_index * A + anchor_index) * h + row) * w + column
    empty = maps.new_zeros(B * cells_per_image)
    confidence = (iou.detach().clamp(0, 1) * weight).flatten()
    wanted = empty.scatter_reduce(0, slot.flatten(), confidence, "amax")
    has_positive = empty.scatter_reduce(0, slot.flatten(), positive.float().flatten(), "amax")
    has_ignored = empty.scatter_reduce(0, slot.flatten(), ignored.float().flatten(), "amax")
    counts = 1 - has_ignored * (1 - has_positive)
    objectness = functional.binary_cross_entropy_with_logits(
        by_cell[..., 4].flatten(), wanted, weight=counts
    )
    return box_loss, objectness * OBJECTNESS_BALANCE.get(head.stride, 1.0), class_loss


@lru_cache(maxsize=64)
def _constant(rows: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """A small table on the device; copied once, because every copy from the host waits for the
    device.
    """
    return torch.tensor(rows, device=device, dtype=torch.float32)


def complete_iou(
    centre_a: Tensor, side_a: Tensor, centre_b: Tensor, side_b: Tensor
) -> tuple[Tensor, Tensor]:
    """IoU and complete IoU of boxes (..., 2) centres and (..., 2) sides in one unit, pair by pair.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020, equations 7-11,
    https://arxiv.org/abs/1911.08287
    """
    low_a, high_a = centre_a - side_a / 2, centre_a + side_a / 2
    low_b, high_b = centre_b - side_b / 2, centre_b + side_b / 2
    overlap = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(-1)
    union = side_a.prod(-1) + side_b.prod(-1) - overlap
    iou = overlap / union.clamp(min=1e-7)
    hull = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    distance = (centre_a - centre_b).square().sum(-1) / hull.square().sum(-1).clamp(min=1e-7)
    angle_a = torch.atan(side_a[..., 0] / side_a[..., 1].clamp(min=1e-7))
    angle_b = torch.atan(side_b[..., 0] / side_b[..., 1].clamp(min=1e-7))
    shape = (4 / math.pi**2) * (angle_a - angle_b).square()
    with torch.no_grad():
        shape_weight = shape / (1 - iou + shape).clamp(min=1e-7)
    return iou, iou - distance - shape_weight * shape
