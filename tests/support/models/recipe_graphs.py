"""Recipes of codecs as networks of random weights, on the detectors that they are for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from slimcodec.model.find import find_model
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.recipe.schema import CodecRecipe, build_codec_run
from support.models.yolov3 import yolov3_cfg

YOLOV3_LAYER, EMBEDDED_LAYER = 15, 29  # where the two detectors are cut
EMBEDDED_CFG = find_model("detector", "yolo-fastest-street") / "detector.cfg"


@cache
def graph_of(detector: str) -> tuple[Darknet, int]:
    """The detector's graph without trained weights, and the layer of the split."""
    if detector == "yolov3":
        return Darknet(parse_cfg(yolov3_cfg())).eval(), YOLOV3_LAYER
    return Darknet(parse_cfg(EMBEDDED_CFG.read_text(encoding="utf-8"))).eval(), EMBEDDED_LAYER


def run_graphs(recipe: CodecRecipe, build: Callable[[CodecConfig], CodecNet] = CodecNet) -> None:
    """Check shapes at every level."""
    detector, layer = graph_of(recipe.detector)
    run = build_codec_run(recipe, detector, layer, Path("unused"))
    codec = build(run.config).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    for level, M in enumerate(run.config.latent_channels):
        at = torch.tensor([level])
        with torch.no_grad():
            y = codec.analyse(x, level)
            out = codec(x, torch.zeros(1), at, at)

        assert y.shape == (1, M, 4, 4)
        assert out.f_hat.shape == (1, detector.split_point(layer).channels, 8, 8)
        assert out.x_hat.shape == (1, 3, 64, 64)
