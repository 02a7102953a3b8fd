"""The first of three rungs: which of the detector's classes are in the picture, from the narrowest
latent alone.

    y_hat (B, M_0, h, w) -/ deviation-> -conv 3x3-> -conv 3x3 /2-> -conv 3x3-> -conv 1x1->
    cells (B, C, h/2, w/2) -log-sum-exp over the cells-> logits (B, C)

A cell's logit is the logarithm of the odds that an object of the class has its centre there. Odds
of rare, separate events add, so the picture's logit is the log-sum-exp of its cells': one small
sure object is enough, and a larger picture has more room for one.
"""

import math

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from slimnets.export.onnx_file import GraphWriter, float_value, weights_of

CELL_STRIDE = 2  # cells of the latent, a side, in one cell of the head: 32 pixels of the picture
_FIRST_ODDS = 1e-4  # of a class in a cell before anything is learnt: most cells hold nothing
_SLOPE = 0.1  # of the leaky rectifiers


class TriageHead(nn.Module):
    """Presence of each class from y_hat of the narrowest level.

    Args:
        latent_channels: M_0 of the codec.
        classes: C of the detector.
        widths: channels of the three hidden layers; with M_0 = 32 and C = 80 these cost about 0.25
            kMAC per pixel of the picture.
    """

    deviation: Tensor

    def __init__(
        self, latent_channels: int, classes: int, widths: tuple[int, int, int] = (32, 96, 96)
    ) -> None:
        super().__init__()
        self.latent_channels, self.classes, self.widths = latent_channels, classes, widths
        self.register_buffer("deviation", torch.ones(latent_channels))
        first, second, third = widths
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(latent_channels, first, 3, padding=1, bias=False),
                nn.Conv2d(first, second, 3, stride=CELL_STRIDE, padding=1, bias=False),
                nn.Conv2d(second, third, 3, padding=1, bias=False),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.last = nn.Conv2d(third, classes, 1)
        nn.init.constant_(self.last.get_parameter("bias"), math.log(_FIRST_ODDS))
        nn.init.normal_(self.last.weight, std=0.01)

    @torch.no_grad()
    def start_from(self, latents: list[Tensor]) -> None:
        """Measure the channels' deviations, so that training sees inputs of one scale.

        Args:
            latents: y_hat, (B, M_0, h, w) each; sizes may differ.
        """
        squares = torch.stack([y_hat.square().mean((0, 2, 3)) for y_hat in latents]).mean(0)
        self.deviation.copy_(squares.sqrt().clamp(min=1e-3))

    def cells(self, y_hat: Tensor) -> Tensor:
        """(B, M_0, h, w) -> (B, C, ceil(h/2), ceil(w/2)) logits, one for each class and cell."""
        out = y_hat / self.deviation[:, None, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            out = nn.functional.leaky_relu(norm(layer(out)), _SLOPE)
        logits: Tensor = self.last(out)
        return logits

    def forward(self, y_hat: Tensor) -> Tensor:
        """(B, M_0, h, w) -> (B, C) logits of presence in the picture."""
        return self.cells(y_hat).logsumexp((2, 3))


def export_triage(head: TriageHead) -> onnx.ModelProto:
    """Graph `y_hat` (B, M_0, h, w) -> `logits` (B, C), norms and deviations folded away."""
    graph, source = GraphWriter(), "y_hat"
    for index, (layer, norm) in enumerate(zip(head.layers, head.norms, strict=True)):
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = nn.utils.fusion.fuse_conv_bn_eval(layer.eval(), norm.eval())
        if index == 0:
            folded.weight = nn.Parameter(folded.weight / head.deviation[:, None, None])
        name, size = f"conv_{index}", layer.kernel_size[0]
        folded_weights = weights_of(graph, folded, name)
        source = graph.convolution(source, folded_weights, name, size, layer.stride[0], 1)
        source = graph.add("LeakyRelu", [source], f"relu_{index}", alpha=_SLOPE)
    cells = graph.convolution(source, weights_of(graph, head.last, "cells"), "cells", 1)
    axes = graph.constant("spatial_axes", np.array([2, 3], np.int64))
    graph.add("ReduceLogSumExp", [cells, axes], "logits", keepdims=0)
    return graph.model(
        "triage",
        [float_value("y_hat", ["B", head.latent_channels, "h", "w"])],
        [float_value("logits", ["B", head.classes])],
    )
