"""Raw head maps read as boxes, on the device."""

import torch
from torch import Tensor

from slimnets.darknet.layers import HeadSpec

_LEAST_PROBABILITY = 1e-6  # float32 tells its logit, and that of 1 less it, from the next
_MAX_LOG_SIDE = 10.0  # exp(10) anchors: finite, and larger than any picture


def by_cell(maps: Tensor, head: HeadSpec) -> Tensor:
    """(B, A * (5 + C), h, w) -> (B, A, h, w, 5 + C), logits whatever the map holds."""
    B, _, h, w = maps.shape
    cells = maps.view(B, len(head.anchors), -1, h, w).permute(0, 1, 3, 4, 2)
    return cells.logit(_LEAST_PROBABILITY) if head.new_coords else cells


def decode_sides(t: Tensor, head: HeadSpec, max_log_side: float) -> Tensor:
    """Sides (..., 2) in anchors, from the logits of `by_cell`."""
    return (2 * t.sigmoid()).square() if head.new_coords else t.clamp(max=max_log_side).exp()


def decode_boxes(cells: Tensor, head: HeadSpec) -> Tensor:
    """Corners in pixels of raw cells (B, A, h, w, 5 + C): (B, A, h, w, 4)."""
    _, _, h, w, _ = cells.shape
    s = head.scale_x_y
    sides = [torch.arange(side, device=cells.device, dtype=cells.dtype) for side in (w, h)]
    at = torch.stack(torch.meshgrid(*sides, indexing="xy"), dim=-1)  # (h, w, 2) x, y
    centre = (cells[..., :2].sigmoid() * s - (s - 1) / 2 + at) * head.stride
    anchors = cells.new_tensor(head.anchors)[:, None, None]  # (A, 1, 1, 2)
    half = decode_sides(cells[..., 2:4], head, _MAX_LOG_SIDE) * anchors / 2
    return torch.cat([centre - half, centre + half], dim=-1)
