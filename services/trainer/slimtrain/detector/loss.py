"""The detector's training loss: raw head maps, targets -> box, objectness and class losses.

    targets (B, T, 6) -anchors of like shape, cells whose sigmoid reaches the centre-> matches
    matches -CIoU-> box loss; -IoU times confidence-> objectness target; -BCE-> class loss
    elsewhere: no object where no box means "not there", else what the teacher says

The teacher is the network that the training began with. Of classes that nobody looked for in a
picture it is believed, so that they are not forgotten.

Source: heads: Redmon and Farhadi, YOLOv3, 2018, https://arxiv.org/abs/1804.02767; CIoU: Zheng et
al., AAAI 2020, https://arxiv.org/abs/1911.08287; several anchors per object (`iou_thresh`) and
stretched centres: Bochkovskiy et al., YOLOv4, 2020, section 3.4, https://arxiv.org/abs/2004.10934.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

from slimnets.darknet.layers import HeadSpec
from slimtrain.data.pictures import POSITIVE_CONFIDENCE

BOX_WEIGHT = 0.05
OBJECTNESS_WEIGHT = 0.6
CLASS_WEIGHT = 0.4
# by stride: a fine map has more cells, and a smaller share of them holds an object
OBJECTNESS_BALANCE = {8: 4.0, 16: 1.0, 32: 0.4}
# bound on the raw side: exp(4) is 55 anchors; keeps an early outlier from becoming infinite
MAX_LOG_SIDE = 4.0
MIN_TAUGHT = 0.01  # objectness from which on the teacher's classes and boxes are learned
_LEAST_PROBABILITY = 1e-6  # float32 tells its logit, and that of 1 less it, from the next
_MIN_SIDE = 1e-3  # cells; a box of no size has no shape to compare

# cells, x before y, that may answer for a target: its own and the four beside it
_NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True)
class DetectorLoss:
    """Scalars on the device; `total` is the weighted sum that is differentiated."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor
    taught: Tensor


@dataclass(frozen=True)
class Teaching:
    """What the network that the training began with says of a batch."""

    raw: Sequence[Tensor]  # its head maps
    heads: Sequence[HeadSpec]  # of those maps; the trained network may have others besides
    # (h, w) -> (B, h, w, C) bool, whether a place without a box shows none of a class; the teacher
    # is asked of the others
    is_absent: Callable[[int, int], Tensor]
    weight: float  # of its classes and boxes


def detector_loss(
    raw: Sequence[Tensor],
    targets: Tensor,
    heads: Sequence[HeadSpec],
    teaching: Teaching | None = None,
) -> DetectorLoss:
    """Losses of one batch.

    Args:
        raw: per head (B, A * (5 + C), h, w), any float dtype; computed in float32.
        targets: (B, T, 6) class, cx, cy, w, h in pixels, confidence; rows with w = 0 are empty,
            rows below `POSITIVE_CONFIDENCE` are left out of everything.
        teaching: None: a place without a box shows nothing.
    """
    boxes = _Boxes.of(targets, heads)
    taught = [] if teaching is None else [_Taught.by(teaching, i) for i in range(len(teaching.raw))]
    parts = [
        _head_loss(_by_cell(maps, head), boxes, index, head, taught)
        for index, (maps, head) in enumerate(zip(raw, heads, strict=True))
    ]
    box, objectness, classes, learned = (
        torch.stack(part).sum() for part in zip(*parts, strict=True)
    )
    total = BOX_WEIGHT * box + OBJECTNESS_WEIGHT * objectness + CLASS_WEIGHT * classes
    if teaching is not None:
        total = total + teaching.weight * learned
    return DetectorLoss(
        total, box.detach(), objectness.detach(), classes.detach(), learned.detach()
    )


@dataclass(frozen=True)
class _Boxes:
    """All N boxes of a batch."""

    image: Tensor  # (N,)
    rows: Tensor  # (N, 6)
    answers: Sequence[Tensor]  # of each head, (N, A): whether the anchor's shape answers for it

    @classmethod
    def of(cls, targets: Tensor, heads: Sequence[HeadSpec]) -> Self:
        image, slot = (targets[..., 3] > 0).nonzero(as_tuple=True)
        rows = targets[image, slot]
        like = [_shape_iou(rows[:, 3:5], rows.new_tensor(head.anchors)) for head in heads]
        best = torch.cat(like, dim=1).amax(1, keepdim=True)
        answers = [
            (iou > head.iou_thresh) | (iou == best) for iou, head in zip(like, heads, strict=True)
        ]
        return cls(image, rows, answers)


@dataclass(frozen=True)
class _Taught:
    """What the teacher says by one of its heads."""

    head: HeadSpec
    cells: Tensor  # (B, A, h, w, 5 + C) raw
    objectness: Tensor  # (B, A, h, w): zero where "no box" says that its class is not there

    @classmethod
    def by(cls, teaching: Teaching, index: int) -> Self:
        head = teaching.heads[index]
        cells = _by_cell(teaching.raw[index], head)
        _, A, h, w, _ = cells.shape
        absent = teaching.is_absent(h, w)[:, None].expand(-1, A, -1, -1, -1)
        is_absent = absent.gather(-1, cells[..., 5:].argmax(-1, keepdim=True))[..., 0]
        return cls(head, cells, cells[..., 4].sigmoid() * ~is_absent)


def _head_loss(
    cells: Tensor, boxes: _Boxes, index: int, head: HeadSpec, taught: Sequence[_Taught]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Box, objectness, class loss, and the distance to the teacher's classes and boxes."""
    B, A, h, w, values = cells.shape
    anchors = cells.new_tensor(head.anchors)

    # Which (box, anchor, neighbour cell) belong together: (N, A, L), L = 5.
    centre = boxes.rows[:, 1:3] / head.stride  # (N, 2) in cells
    steps = cells.new_tensor(_NEIGHBOURS)  # (L, 2)
    cell = centre.floor()[:, None] + steps  # (N, L, 2)
    offset = centre[:, None] - cell  # wanted centre, seen from the cell
    reach = (head.scale_x_y - 1) / 2
    reachable = ((offset > -reach) & (offset < 1 + reach)).all(-1)
    reachable |= (steps == 0).all(-1)  # its own cell always
    reachable &= ((cell >= 0) & (cell < cells.new_tensor((w, h)))).all(-1)  # (N, L)
    n, a, step = (boxes.answers[index][..., None] & reachable[:, None]).nonzero(as_tuple=True)
    column, row = cell[n, step].long().unbind(-1)
    place = (boxes.image[n], a, row, column)

    rows = boxes.rows[n]  # (M, 6)
    predicted = cells[place]  # (M, 5 + C)
    found = _decode(predicted, head, anchors[a])
    truth = torch.cat([offset[n, step], rows[:, 3:5] / head.stride], dim=1)
    corners = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (found, truth))
    is_object = rows[:, 5] >= POSITIVE_CONFIDENCE
    weight = rows[:, 5] * is_object
    total_weight = weight.sum().clamp(min=1.0)
    box_loss = (complete_box_iou_loss(*corners) * weight).sum() / total_weight
    class_target = functional.one_hot(rows[:, 0].long(), values - 5).float()
    class_bce = functional.binary_cross_entropy_with_logits(
        predicted[:, 5:], class_target, reduction="none"
    ).mean(-1)
    class_loss = (class_bce * weight).sum() / total_weight

    slot = ((place[0] * A + a) * h + row) * w + column
    none = cells.new_zeros(B * A * h * w)
    iou = box_iou(found.detach()[:, None], truth[:, None], fmt="cxcywh").flatten()
    confidence = iou * weight
    wanted = none.scatter_reduce(0, slot, confidence, "amax").view(B, A, h, w)
    has_object = none.scatter_reduce(0, slot, is_object.float(), "amax").view(B, A, h, w) > 0
    has_unsure = none.scatter_reduce(0, slot, 1.0 - is_object.float(), "amax").view(B, A, h, w) > 0
    is_left_out = has_unsure | _overlaps(cells.detach(), boxes, head)
    elsewhere = ~has_object & ~is_left_out
    counts = (has_object | elsewhere).float()
    learned = cells.new_zeros(())
    own = [
        part
        for part in taught
        if (part.head.stride, part.head.anchors) == (head.stride, head.anchors)
    ]
    if own:
        says = own[0].objectness * elsewhere
        wanted = torch.where(elsewhere, says, wanted)
        learned = _distance_to_teacher(cells, own[0].cells, says)
    elif taught:  # a new head: where the teacher sees something that nobody looked for
        seen = [part.objectness.amax(1, keepdim=True) for part in taught]
        finest = torch.stack([functional.interpolate(map_, (h, w)) for map_ in seen]).amax(0)
        counts = torch.where(elsewhere, 1 - finest, counts)
    objectness = functional.binary_cross_entropy_with_logits(cells[..., 4], wanted, weight=counts)
    return box_loss, objectness * OBJECTNESS_BALANCE.get(head.stride, 1.0), class_loss, learned


def _distance_to_teacher(cells: Tensor, teacher: Tensor, objectness: Tensor) -> Tensor:
    """Of classes and boxes, where the teacher sees something."""
    place = (objectness > MIN_TAUGHT).nonzero(as_tuple=True)
    mine, its, weight = cells[place], teacher[place], objectness[place]
    classes = functional.binary_cross_entropy_with_logits(
        mine[:, 5:], its[:, 5:].sigmoid(), reduction="none"
    ).mean(-1)
    centre = (mine[:, :2].sigmoid() - its[:, :2].sigmoid()).abs().sum(-1)
    side = (mine[:, 2:4] - its[:, 2:4]).abs().sum(-1)
    distance = CLASS_WEIGHT * classes + BOX_WEIGHT * (centre + side)
    return (distance * weight).sum() / weight.sum().clamp(min=1.0)


@torch.no_grad()
def _overlaps(cells: Tensor, boxes: _Boxes, head: HeadSpec) -> Tensor:
    """(B, A, h, w) whether a prediction has more than `ignore_thresh` IoU with some box."""
    B, A, h, w, _ = cells.shape
    found = _decode(cells, head, cells.new_tensor(head.anchors)[:, None, None])
    found[..., 0] += torch.arange(w, device=cells.device)
    found[..., 1] += torch.arange(h, device=cells.device)[:, None]
    truth = boxes.rows[:, 1:5] / head.stride
    overlaps = [
        box_iou(found[image].flatten(0, 2), truth[boxes.image == image], fmt="cxcywh")
        for image in range(B)
    ]
    is_over = [(iou > head.ignore_thresh).any(-1) for iou in overlaps]
    return torch.stack(is_over).view(B, A, h, w)


def _shape_iou(side_a: Tensor, side_b: Tensor) -> Tensor:
    """IoU of boxes (N, 2) and (A, 2) laid over each other: (N, A)."""
    overlap = torch.minimum(side_a[:, None], side_b).prod(-1)
    return overlap / (side_a.prod(-1)[:, None] + side_b.prod(-1) - overlap)


def _by_cell(maps: Tensor, head: HeadSpec) -> Tensor:
    """(B, A * (5 + C), h, w) -> (B, A, h, w, 5 + C), float32 logits whatever the map holds."""
    B, _, h, w = maps.shape
    cells = maps.float().view(B, len(head.anchors), -1, h, w).permute(0, 1, 3, 4, 2)
    return cells.logit(_LEAST_PROBABILITY) if head.new_coords else cells


def _decode(cells: Tensor, head: HeadSpec, anchors: Tensor) -> Tensor:
    """Logits (..., 5 + C) and the anchors (..., 2) of their cells -> boxes (..., 4) as centre, seen
    from the cell's corner, and sides, both in cells.
    """
    s, side = head.scale_x_y, cells[..., 2:4]
    centre = cells[..., :2].sigmoid() * s - (s - 1) / 2
    side = (2 * side.sigmoid()).square() if head.new_coords else side.clamp(max=MAX_LOG_SIDE).exp()
    return torch.cat([centre, (side * anchors / head.stride).clamp(min=_MIN_SIDE)], dim=-1)
