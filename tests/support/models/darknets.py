"""A small Darknet detector with every layer this project knows, and where public ones may lie."""

from pathlib import Path

import torch
from torch import nn

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import Convolutional

CLASSES = 3

# Layers 0..7 are the stem; the split is at 7, a shortcut of stride 8 with 8 channels.
# Stride 16 branches off at 11 and comes back, upsampled, to join layer 9 at stride 8.
ALL_LAYERS_CFG = """
[net]            # what a comment looks like
width = 64
height=64
channels=3

[convolutional]  ; 0
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
groups=4
activation=relu

[convolutional]
filters=8
size=1
stride=1
pad=1
activation=mish

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=16
size=3
stride=1
pad=1
dilation=2
activation=relu6

[convolutional]
batch_normalize=1
filters=8
size=1
stride=1
activation=linear

[dropout]
probability=.2

[shortcut]
from=-4
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
groups=8
activation=swish

[route]
layers=-1
groups=2
group_id=1

[maxpool]
size=2
stride=1

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=logistic

[maxpool]
size=5
stride=1

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
scale_x_y = 1.05

[route]
layers=-3

[upsample]
stride=2

[route]
layers=-1, 9

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
ALL_LAYERS_SPLIT = 7


def make_darknet(seed: int = 0, cfg: str = ALL_LAYERS_CFG) -> Darknet:
    """A detector with random weights, its norms far from the identity, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model = Darknet(parse_cfg(cfg)).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            scale = 0.3 if tensor.dim() == 1 else (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.weight.add_(1)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def convolution(model: Darknet, layer: int) -> Convolutional:
    """Layer number `layer`, which must be convolutional."""
    found = model.layers[layer]
    assert isinstance(found, Convolutional)
    return found


def make_pictures(batch: int = 1, h: int = 64, w: int = 96, seed: int = 0) -> torch.Tensor:
    """Random x (batch, 3, h, w) in [0, 1]."""
    return torch.rand((batch, 3, h, w), generator=torch.Generator().manual_seed(seed))


def public_cfgs() -> list[Path]:
    """Darknet detectors with weights in a folder `shared` beside the repository, if any."""
    beside = Path(__file__).resolve().parents[3].parent / "shared"
    found = [*beside.glob("data/teacher/*/*.cfg"), *beside.glob("weights/*.cfg")]
    return sorted(path for path in found if path.with_suffix(".weights").exists())
