"""The Darknet graph against an independent implementation: OpenCV's Darknet reader."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimnets.darknet.cfg import format_cfg, parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights, save_darknet_weights
from support.models.darknets import make_darknet, public_cfgs

PUBLIC = public_cfgs()
# OpenCV 4 builds no dilation or group routes from a cfg, and names conv, not convolutional, layers.
COMMON_CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=relu

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=16
size=3
stride=1
pad=1
groups=16
activation=mish

[shortcut]
from=-2
activation=linear

[maxpool]
size=2
stride=1

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=swish

[maxpool]
size=5
stride=1

[route]
layers=-1,-2

[convolutional]
filters=16
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=1,2
anchors = 4,5, 10,12, 30,20
classes=3
num=3

[route]
layers=-3

[upsample]
stride=2

[route]
layers=-1,4

[convolutional]
filters=8
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0
anchors = 4,5, 10,12, 30,20
classes=3
num=3
"""


def assert_agrees_with_opencv(cfg: Path, weights: Path, x: NDArray[np.float32]) -> None:
    model = Darknet(parse_cfg(cfg.read_text())).eval()
    load_darknet_weights(model, weights)
    with torch.no_grad():
        ours = [head.numpy() for head in model(torch.from_numpy(x))]

    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    net.setInput(x)
    theirs = net.forward([f"conv_{head.layer - 1}" for head in model.head_specs])

    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=1e-4)


def test_every_layer_that_opencv_knows_agrees_with_it(tmp_path: Path) -> None:
    model = make_darknet(cfg=COMMON_CFG)
    cfg, weights = tmp_path / "detector.cfg", tmp_path / "detector.weights"
    cfg.write_text(format_cfg(model.sections))
    save_darknet_weights(model, weights)
    x = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)

    assert_agrees_with_opencv(cfg, weights, x)


@pytest.mark.skipif(not PUBLIC, reason="no Darknet detectors lie beside the repository")
@pytest.mark.parametrize("cfg", PUBLIC, ids=[path.stem for path in PUBLIC])
def test_public_detectors_agree_with_opencv(cfg: Path) -> None:
    x = np.random.default_rng(0).random((1, 3, 192, 256), dtype=np.float32)

    assert_agrees_with_opencv(cfg, cfg.with_suffix(".weights"), x)


@pytest.mark.skipif(not PUBLIC, reason="no Darknet detectors lie beside the repository")
@pytest.mark.parametrize("cfg", PUBLIC, ids=[path.stem for path in PUBLIC])
@torch.no_grad()
def test_public_detectors_are_cut_without_a_difference(cfg: Path) -> None:
    model = Darknet(parse_cfg(cfg.read_text())).eval()
    load_darknet_weights(model, cfg.with_suffix(".weights"))
    first_shortcut = next(i for i, s in enumerate(model.sections[1:]) if s.kind == "shortcut")
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))

    cut = model.tail(model.stem(x, first_shortcut), first_shortcut)

    for whole, part in zip(model(x), cut, strict=True):
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)
