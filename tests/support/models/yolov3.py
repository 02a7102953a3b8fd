"""YOLOv3's configuration from code: Darknet-53, then three heads at strides 32, 16 and 8.

At 80 classes: 61,949,149 trained parameters (weights, biases, norms: the "61.9 M"); with the
running statistics of the norms a weights file holds 62,001,757 values (62.0 M; 248,007,048 bytes).
Source: J. Redmon and A. Farhadi, YOLOv3: An Incremental Improvement, 2018, table 1 and section 2.3,
https://arxiv.org/abs/1804.02767.
"""

from slimnets.darknet.cfg import CfgSection, format_cfg

# Sides in pixels at 416 x 416, small to large (section 2.3).
_ANCHORS = "10,13,16,30,33,23,30,61,62,45,59,119,116,90,156,198,373,326"
_MASKS = ("6,7,8", "3,4,5", "0,1,2")  # stride 32, 16, 8
_RESIDUAL_BLOCKS = (1, 2, 8, 8, 4)  # at strides 2, 4, 8, 16, 32 (table 1)
_JOINED_LAYERS = (61, 36)  # last outputs of Darknet-53 at strides 16 and 8


def yolov3_cfg(classes: int = 80, side: int = 416) -> str:
    """Give the full YOLOv3 as Darknet `.cfg` text; `side` is the nominal picture side in pixels."""
    net = {"width": str(side), "height": str(side), "channels": "3"}
    sections = [CfgSection("net", net, 0), _convolution(32, 3)]
    for level, blocks in enumerate(_RESIDUAL_BLOCKS):
        filters = 64 << level
        sections.append(_convolution(filters, 3, stride=2))
        for _ in range(blocks):
            sections += [_convolution(filters // 2, 1), _convolution(filters, 3), _shortcut()]
    for head, mask in enumerate(_MASKS):
        filters = 512 >> head
        if head:
            sections += [_section("route", layers="-4"), _convolution(filters, 1)]
            sections += [_section("upsample", stride="2")]
            sections += [_section("route", layers=f"-1,{_JOINED_LAYERS[head - 1]}")]
        for _ in range(3):
            sections += [_convolution(filters, 1), _convolution(2 * filters, 3)]
        sections += [_head_convolution(classes), _yolo(mask, classes)]
    return format_cfg(sections)


def _section(kind: str, **options: str) -> CfgSection:
    return CfgSection(kind, options, 0)


def _convolution(filters: int, size: int, stride: int = 1) -> CfgSection:
    return _section(
        "convolutional",
        batch_normalize="1",
        filters=str(filters),
        size=str(size),
        stride=str(stride),
        pad="1",
        activation="leaky",
    )


def _shortcut() -> CfgSection:
    return CfgSection("shortcut", {"from": "-3", "activation": "linear"}, 0)


def _head_convolution(classes: int) -> CfgSection:
    filters = str(3 * (5 + classes))
    return _section(
        "convolutional", size="1", stride="1", pad="1", filters=filters, activation="linear"
    )


def _yolo(mask: str, classes: int) -> CfgSection:
    return _section("yolo", mask=mask, anchors=_ANCHORS, classes=str(classes), num="9")
