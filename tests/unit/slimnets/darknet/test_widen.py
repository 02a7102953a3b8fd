"""A widened detector computes what the narrow one computes."""

import pytest
import torch

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.widen import widen
from slimnets.errors import CfgError
from support.models.darknets import convolution, make_darknet, make_pictures

CFG = """
[net]
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
groups=4
activation=leaky
[shortcut]
from=-2
[maxpool]
size=2
stride=2
[route]
layers=-1,-1
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=0,1
anchors=4,5, 10,12
classes=3
num=2
[route]
layers=3
[upsample]
stride=2
[route]
layers=-1,2
[convolutional]
filters=8
size=1
activation=linear
[yolo]
mask=0
anchors=4,5, 10,12
classes=3
num=2
"""


@pytest.mark.parametrize("factor", [1, 2, 3])
@torch.no_grad()
def test_widening_keeps_the_function(factor: int) -> None:
    model = make_darknet(cfg=CFG)
    x = make_pictures(batch=2)

    cfg, state = widen(model, factor)
    wide = Darknet(parse_cfg(cfg)).eval()
    wide.load_state_dict(state)

    for a, b in zip(model(x), wide(x), strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-4)
    assert convolution(wide, 0).conv.out_channels == 4 * factor
    assert convolution(wide, 1).conv.groups == 4 * factor
    assert wide.head_specs == model.head_specs


@torch.no_grad()
def test_noise_parts_the_copies() -> None:
    torch.manual_seed(0)
    model = make_darknet(cfg=CFG)

    _, state = widen(model, 2, noise=0.01)

    first = state["layers.0.conv.weight"]
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(first[0], first[1], atol=0.1, rtol=0)


def test_groups_that_repetition_would_mix_are_refused() -> None:
    with pytest.raises(CfgError, match="only depthwise groups can be widened"):
        widen(make_darknet(), 2)


@pytest.mark.parametrize("factor", [0, -1, 17])
def test_a_factor_outside_the_range_is_refused(factor: int) -> None:
    with pytest.raises(CfgError, match="expected 1 to 16"):
        widen(make_darknet(cfg=CFG), factor)
