"""Darknet's layers as torch modules: `CfgSection` + inputs -> `BuiltLayer`.

Every module takes its sources as positional tensors (B, C, H, W) and gives one such tensor, so that
the graph is plain data: a list of modules and, for each, the numbers of the layers it reads.
Source: Darknet's `src/*_layer.c` for meaning and default values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.darknet.cfg import CfgSection

# Darknet divides by sqrt(variance) + 1e-6, newer forks by sqrt(variance + 1e-5), and OpenCV's
# Darknet reader by sqrt(variance + 1e-6). We follow OpenCV, our reference: raw maps of three public
# detectors agree to 4e-5; with 1e-5 they are up to 6e-2 off.
BATCH_NORM_EPS = 1e-6
LEAKY_SLOPE = 0.1  # LEAKY in Darknet's src/activations.h
# A head starts by finding almost nothing (Lin et al., Focal Loss, ICCV 2017, section 4.1).
PRIOR_OBJECTNESS = 0.01
_HEAD_INIT_STD = 0.01
# YOLOv4's; Darknet's own 1 would have one anchor answer for a box and leave the others untrained.
IOU_THRESH = 0.213
IGNORE_THRESH = 0.5  # Darknet's


@dataclass(frozen=True)
class Shape:
    """What is known of an output before a picture arrives: channels, and stride in input pixels."""

    channels: int
    stride: int


@dataclass(frozen=True)
class HeadSpec:
    """A YOLO head: how its raw map (B, A * (5 + classes), H/stride, W/stride) is to be read.

    `anchors` are (width, height) in input pixels; `scale_x_y` stretches the centre's sigmoid
    about 0.5. With `new_coords` the map holds probabilities instead of logits, and sides are
    (2 * t)^2 anchors instead of exp(t). In training, every anchor whose shape has more than
    `iou_thresh` IoU with a box answers for it, and a prediction with more than `ignore_thresh` is
    never background.
    """

    layer: int
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float
    iou_thresh: float = IOU_THRESH
    ignore_thresh: float = IGNORE_THRESH
    new_coords: bool = False


@dataclass(frozen=True)
class BuiltLayer:
    """A layer in its place: module, numbers of its sources (-1 = the picture), output shape."""

    module: nn.Module
    sources: tuple[int, ...]
    shape: Shape
    head: HeadSpec | None = field(default=None)


class Convolutional(nn.Module):
    """x -conv-> -norm-> -activation->; the convolution has a bias only where there is no norm."""

    def __init__(self, conv: nn.Conv2d, batch_normalize: bool, activation: str) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.BatchNorm2d | None = None
        if batch_normalize:
            self.norm = nn.BatchNorm2d(conv.out_channels, eps=BATCH_NORM_EPS)
        self.activation = ACTIVATIONS[activation]()
        nn.init.kaiming_normal_(conv.weight, a=LEAKY_SLOPE, mode="fan_in")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H/stride, W/stride)."""
        conv, norm = self.conv, self.norm
        if norm is None:
            x = conv(x)
        elif norm.training:
            x = norm(conv(x))
        else:  # folded: one pass over the pixels less, and no other function of the weights
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            bias = norm.bias - norm.running_mean * scale
            weight = conv.weight * scale[:, None, None, None]
            x = conv._conv_forward(x, weight, bias)
        y: Tensor = self.activation(x)
        return y


class Shortcut(nn.Module):
    """Sum of the previous layer and one or more earlier ones of the same shape."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """n x (B, C, H, W) -> (B, C, H, W)."""
        for other in others:
            x = x + other
        y: Tensor = self.activation(x)
        return y


class Route(nn.Module):
    """Concatenation of earlier layers, or of one group of channels of each."""

    def __init__(self, groups: int, group_id: int) -> None:
        """Take group `group_id` of `groups` equal parts of every source."""
        super().__init__()
        self.groups = groups
        self.group_id = group_id

    def forward(self, *sources: Tensor) -> Tensor:
        """n x (B, C_i, H, W) -> (B, sum(C_i) / groups, H, W)."""
        if self.groups > 1:
            sources = tuple(s.chunk(self.groups, dim=1)[self.group_id] for s in sources)
        return sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)


class MaxPool(nn.Module):
    """Maximum over windows; Darknet pads `size - 1` in all, the odd pixel at the right and bottom.

    So a stride of 1 keeps the size (YOLOv3-tiny's 2x2/1 pool, SPP's 5x5 and 9x9).
    """

    def __init__(self, size: int, stride: int, padding: int) -> None:
        """Pool `size` x `size` windows; `padding` is the sum over both sides, in pixels."""
        super().__init__()
        self.size = size
        self.stride = stride
        self.before = padding // 2
        self.after = padding - self.before

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, (H + padding - size) // stride + 1, ...)."""
        if self.before == self.after:
            return F.max_pool2d(x, self.size, self.stride, self.before)
        # Replicated pixels never change a maximum, because the window also holds the pixel they
        # repeat; unlike -inf they stay finite in every runtime and precision.
        x = F.pad(x, (self.before, self.after, self.before, self.after), mode="replicate")
        return F.max_pool2d(x, self.size, self.stride)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "logistic": nn.Sigmoid,
    "mish": nn.Mish,
    "swish": nn.SiLU,
}


def build_layer(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    """Build layer `number` (0-based); `shapes[i + 1]` is layer i's, `shapes[0]` the picture's.

    Raises:
        CfgError: a kind or option that this package cannot honour, or shapes that do not fit.
    """
    if section.kind not in _KINDS:
        raise section.fail(f"is not a known layer; this build knows {', '.join(sorted(_KINDS))}")
    build, options = _KINDS[section.kind]
    known = {*options.split(), *_TRAINING_OPTIONS.split()}
    for option, value in section.options.items():
        if option not in known and value not in _OFF:
            raise section.fail(f"{option}={value} is not supported")
    return build(section, number, shapes)


_OFF = frozenset(("0", "0.0", "none"))
# Of Darknet's training, its own suppression and its tracking: they change no raw map.
_TRAINING_OPTIONS = (
    "absolute assisted_excitation bad_label_threshold beta_nms bias_match burnin_update "
    "cls_normalizer counters_per_class delta_normalizer dets_for_show dets_for_track dontload "
    "dontloadscales dont_update dropblock dropblock_size_abs dropblock_size_rel focal_loss "
    "grad_centr iou_loss iou_normalizer iou_thresh_kind jitter label_smooth_eps learning_rate map "
    "max_boxes max_delta nms_kind obj_normalizer objectness_smooth onlyforward random rescore "
    "resize show_details sim_thresh stopbackward thresh track_ciou_norm track_history_size "
    "train_only_bn truth_thresh uc_normalizer"
)


def _build_convolutional(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    source = shapes[number]
    filters = section.integer("filters", 1, low=1)
    groups = section.integer("groups", 1, low=1)
    size = section.integer("size", 1, low=1, high=31)
    stride = _stride(section)
    dilation = section.integer("dilation", 1, low=1, high=32)
    batch_normalize = bool(section.integer("batch_normalize", 0, high=1))
    padding = section.integer("padding", 0, high=31)
    if section.integer("pad", 0, high=1):
        padding = (size // 2) * dilation
    if source.channels % groups or filters % groups:
        raise section.fail(
            f"groups={groups} divides not both {source.channels} inputs and {filters} filters"
        )
    conv = nn.Conv2d(
        source.channels,
        filters,
        size,
        stride,
        padding,
        dilation,
        groups,
        bias=not batch_normalize,
    )
    module = Convolutional(conv, batch_normalize, _activation(section))
    return BuiltLayer(module, (number - 1,), Shape(filters, source.stride * stride))


def _build_shortcut(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    sources = (number - 1, *_references(section, "from", number))
    for layer in sources:
        if shapes[layer + 1] != shapes[number]:
            raise section.fail(
                f"layer {number} adds layer {layer} ({shapes[layer + 1]}) to layer {number - 1} "
                f"({shapes[number]}); expected equal shapes"
            )
    return BuiltLayer(Shortcut(_activation(section)), sources, shapes[number])


def _build_route(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    sources = _references(section, "layers", number)
    groups = section.integer("groups", 1, low=1)
    group_id = section.integer("group_id", 0, high=groups - 1)
    strides = {shapes[layer + 1].stride for layer in sources}
    if len(strides) != 1:
        raise section.fail(f"layer {number} joins layers of strides {sorted(strides)}")
    for layer in sources:
        if shapes[layer + 1].channels % groups:
            raise section.fail(
                f"groups={groups} does not divide the {shapes[layer + 1].channels} channels "
                f"of layer {layer}"
            )
    channels = sum(shapes[layer + 1].channels // groups for layer in sources)
    return BuiltLayer(Route(groups, group_id), sources, Shape(channels, strides.pop()))


def _build_upsample(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    source = shapes[number]
    stride = section.integer("stride", 2, low=1, high=32)
    section.real("scale", 1.0, 1.0, 1.0)
    if source.stride % stride:
        raise section.fail(f"stride={stride} enlarges beyond the picture (stride {source.stride})")
    shape = Shape(source.channels, source.stride // stride)
    return BuiltLayer(nn.Upsample(scale_factor=stride), (number - 1,), shape)  # repeats pixels


def _build_maxpool(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    source = shapes[number]
    stride = _stride(section)
    size = section.integer("size", stride, low=1, high=63)
    padding = section.integer("padding", size - 1, high=size)
    shape = Shape(source.channels, source.stride * stride)
    return BuiltLayer(MaxPool(size, stride, padding), (number - 1,), shape)


def _build_dropout(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    probability = section.real("probability", 0.5, 0.0, 1.0)
    return BuiltLayer(nn.Dropout(probability), (number - 1,), shapes[number])


def _build_yolo(section: CfgSection, number: int, shapes: Sequence[Shape]) -> BuiltLayer:
    source = shapes[number]
    classes = section.integer("classes", 20, low=1)
    num = section.integer("num", 1, low=1)
    flat = section.reals("anchors")
    if len(flat) != 2 * num:
        raise section.fail(f"has {len(flat)} anchor sides; expected 2 * num = {2 * num}")
    if min(flat) <= 0:
        raise section.fail(f"has the anchor side {min(flat)}; expected more than 0 pixels")
    anchors = tuple(zip(flat[0::2], flat[1::2], strict=True))
    mask = section.integers("mask") if "mask" in section.options else tuple(range(num))
    if not mask or not all(0 <= index < num for index in mask):
        raise section.fail(f"mask={section.text('mask', '')}; expected numbers from 0 to {num - 1}")
    expected = len(mask) * (5 + classes)
    if source.channels != expected:
        raise section.fail(
            f"layer {number} reads {source.channels} channels; {len(mask)} anchors of "
            f"5 + {classes} values need {expected}"
        )
    scale_x_y = section.real("scale_x_y", 1.0, 1.0, 4.0)
    head = HeadSpec(
        number,
        source.stride,
        tuple(anchors[i] for i in mask),
        classes,
        scale_x_y,
        section.real("iou_thresh", IOU_THRESH, 0.0, 1.0),
        section.real("ignore_thresh", IGNORE_THRESH, 0.0, 1.0),
        bool(section.integer("new_coords", 0, high=1)),
    )
    return BuiltLayer(nn.Identity(), (number - 1,), source, head)


# Each kind's builder and the options that it reads. Any other that is on might change the result,
# and to ignore one would give silently wrong boxes.
_KINDS: dict[str, tuple[Callable[[CfgSection, int, Sequence[Shape]], BuiltLayer], str]] = {
    "convolutional": (
        _build_convolutional,
        "filters size stride stride_x stride_y pad padding groups dilation batch_normalize "
        "activation",
    ),
    "shortcut": (_build_shortcut, "from activation"),
    "route": (_build_route, "layers groups group_id"),
    "upsample": (_build_upsample, "stride scale"),
    "maxpool": (_build_maxpool, "size stride stride_x stride_y padding"),
    "dropout": (_build_dropout, "probability"),
    "yolo": (
        _build_yolo,
        "mask anchors classes num scale_x_y new_coords iou_thresh ignore_thresh",
    ),
}
_KINDS |= {"conv": _KINDS["convolutional"], "max": _KINDS["maxpool"]}


def _stride(section: CfgSection) -> int:
    """One stride for both axes; Darknet takes `stride_x` and `stride_y` before `stride`."""
    stride = section.integer("stride", 1, low=1, high=32)
    across, down = (section.integer(f"stride_{axis}", stride, low=1, high=32) for axis in "xy")
    if across != down:
        raise section.fail(f"stride_x={across} and stride_y={down}; expected equal strides")
    return across


def _activation(section: CfgSection) -> str:
    default = "logistic" if section.kind in ("convolutional", "conv") else "linear"  # as Darknet
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.fail(f"activation={name}; this build knows {', '.join(ACTIVATIONS)}")
    return name


def _references(section: CfgSection, key: str, number: int) -> tuple[int, ...]:
    """Give absolute layer numbers; a negative one counts back from this layer."""
    layers = tuple(i if i >= 0 else number + i for i in section.integers(key))
    if not layers:
        raise section.fail(f"names no layer in '{key}'")
    for layer in layers:
        if not 0 <= layer < number:
            raise section.fail(
                f"layer {number} reads layer {layer}; expected one from 0 to {number - 1}"
            )
    return layers


@torch.no_grad()
def start_head(conv: nn.Conv2d, head: HeadSpec) -> None:
    """Set a head's convolution so that training starts from few objects and even classes."""
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=_HEAD_INIT_STD)
    bias = torch.zeros(len(head.anchors), 5 + head.classes)
    bias[:, 4] = _logit(PRIOR_OBJECTNESS)
    bias[:, 5:] = _logit(1 / max(head.classes, 2))
    conv.bias.copy_(bias.flatten())


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
