"""What a detector's training starts from: given weights, widened, with stretched heads.

cfg, weights -widen-> twice the channels, the same function -stretch_heads-> Darknet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from slimnets.darknet.cfg import CfgSection, parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights
from slimnets.darknet.widen import widen

STATISTICS_MOMENTUM = 0.03
"""Of batch norm: mosaics and single pictures differ from batch to batch."""


def build_model(
    cfg: Path, weights: Path | None, factor: int, noise: float, scale_x_y: float
) -> Darknet:
    """The detector of a cfg, widened and stretched, ready to be trained.

    Args:
        cfg: Darknet's graph.
        weights: Darknet's weights; None starts at random.
        factor: of the channels; 1 keeps them.
        noise: lets the copies of a channel part ways, see `slimnets.darknet.widen`.
        scale_x_y: of every head.
    """
    model = Darknet(parse_cfg(cfg.read_text()))
    if weights is not None:
        load_darknet_weights(model, weights)
    if factor > 1:
        wide_cfg, state = widen(model, factor, noise)
        model = Darknet(parse_cfg(wide_cfg))
        model.load_state_dict(state)
    if any(head.scale_x_y != scale_x_y for head in model.head_specs):
        sections, state = stretch_heads(model.sections, model.state_dict(), scale_x_y)
        model = Darknet(sections)
        model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = STATISTICS_MOMENTUM
    return model


def stretch_heads(
    sections: Sequence[CfgSection], state: Mapping[str, Tensor], scale_x_y: float
) -> tuple[list[CfgSection], dict[str, Tensor]]:
    """The same detector, nearly, with centres that may lie outside their cell.

    A stretched sigmoid s * sigmoid(t) - (s - 1) / 2 has s times the slope at 0. With the raw
    centres divided by s, boxes stay where they were to a tenth of a cell while the sigmoid is in
    0.1-0.9, and move outwards beyond; training settles them.
    Source: Bochkovskiy et al., YOLOv4, 2020, section 3.4, https://arxiv.org/abs/2004.10934
    """
    changed: list[CfgSection] = []
    tensors = dict(state)
    for number, section in enumerate(sections, start=-1):  # [net] is no layer
        if section.kind != "yolo":
            changed.append(section)
            continue
        before = section.real("scale_x_y", 1.0, 1.0, 4.0)
        options = {**section.options, "scale_x_y": f"{scale_x_y:g}"}
        changed.append(CfgSection(section.kind, options, section.line))
        values = 5 + section.integer("classes", 20)
        for name in (f"layers.{number - 1}.conv.weight", f"layers.{number - 1}.conv.bias"):
            scaled = tensors[name].clone()
            for start in range(0, len(scaled), values):
                scaled[start : start + 2] *= before / scale_x_y
            tensors[name] = scaled
    return changed, tensors
