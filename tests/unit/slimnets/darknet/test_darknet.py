"""The Darknet graph: whole, cut in two, and where it cannot be cut."""

import pytest
import torch
from torch.nn import functional as F

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.errors import SplitError
from support.models.darknets import (
    ALL_LAYERS_SPLIT,
    CLASSES,
    make_darknet,
    make_pictures,
)
from support.models.yolov3 import yolov3_cfg

YOLOV3_SPLIT = 15


def test_heads_come_in_the_order_of_the_yolo_layers() -> None:
    model = make_darknet()

    heads = model(make_pictures(batch=2))

    assert [head.shape for head in heads] == [(2, 16, 4, 6), (2, 8, 8, 12)]
    assert [spec.stride for spec in model.head_specs] == [16, 8]
    assert [spec.anchors for spec in model.head_specs] == [((10, 12), (30, 20)), ((4, 5),)]
    assert [spec.scale_x_y for spec in model.head_specs] == [1.05, 1.0]
    assert model.classes == CLASSES


def test_the_graph_tells_what_its_neck_is_made_of() -> None:
    model = make_darknet()

    assert model.head_layers == (14, 19)
    assert model.joined_layers == (9, 12)
    assert model.max_stride == 16
    assert [model.sources[layer] for layer in (0, 7, 17)] == [(-1,), (6, 3), (16, 9)]


@torch.no_grad()
def test_compiled_for_another_backend_the_graph_is_one_piece() -> None:
    model = make_darknet()
    x = make_pictures()

    compiled = torch.compile(model, backend="eager", fullgraph=True)

    for a, b in zip(model(x), compiled(x), strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_tail_of_stem_equals_the_uncut_network() -> None:
    model = make_darknet()
    x = make_pictures(batch=3)

    f = model.stem(x, ALL_LAYERS_SPLIT)
    cut = model.tail(f, ALL_LAYERS_SPLIT)

    for whole, part in zip(model(x), cut, strict=True):
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)
    assert f.shape == (3, 8, 8, 12)
    assert model.split_point(ALL_LAYERS_SPLIT) == SplitPoint(ALL_LAYERS_SPLIT, 8, 8)


@torch.no_grad()
def test_features_behind_the_split_equal_those_of_the_uncut_network() -> None:
    model = make_darknet()
    x = make_pictures()
    layers = [9, 11, 13, 17]

    whole = model.run(x, 0, [*layers, ALL_LAYERS_SPLIT])
    behind = model.tail_features(whole[ALL_LAYERS_SPLIT], ALL_LAYERS_SPLIT, layers)

    assert sorted(behind) == layers
    for layer in layers:
        torch.testing.assert_close(behind[layer], whole[layer], atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_layer_that_can_be_the_split_gives_the_uncut_result() -> None:
    model = make_darknet()
    x = make_pictures()
    heads = model(x)

    possible = []
    for layer in range(len(model.layers)):
        try:
            model.split_point(layer)
        except SplitError:
            continue
        possible.append(layer)
        for whole, part in zip(heads, model.tail(model.stem(x, layer), layer), strict=True):
            torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)

    assert possible == [0, 1, 2, 3, 7, 8, 9]  # the shortcut at 7 spans 4 to 6


def test_a_split_that_a_later_layer_reaches_behind_is_refused_by_its_name() -> None:
    model = make_darknet()

    with pytest.raises(SplitError, match=r"layer 7 \(shortcut\) reads layer 3.* at 5"):
        model.split_point(5)


@pytest.mark.parametrize("layer", [-1, 19, 200])
def test_a_split_outside_the_graph_is_refused(layer: int) -> None:
    with pytest.raises(SplitError, match=f"layer {layer} cannot be the split; expected 0 to 18"):
        make_darknet().split_point(layer)


def test_a_split_behind_a_head_is_refused() -> None:
    with pytest.raises(SplitError, match="the YOLO head at layer 14 lies before a split at 15"):
        make_darknet().split_point(15)


def test_gradients_reach_every_parameter() -> None:
    model = make_darknet().train()

    sum(head.square().mean() for head in model(make_pictures(batch=2))).backward()

    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@torch.no_grad()
def test_channels_last_and_bf16_autocast_stay_close() -> None:
    model = make_darknet()
    x = make_pictures()

    with torch.autocast("cpu", torch.bfloat16):
        fast = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))

    for plain, head in zip(model(x), fast, strict=True):
        assert F.mse_loss(head.float(), plain).sqrt() < 0.03 * plain.std()


@pytest.fixture(scope="module")
def yolov3() -> Darknet:
    with torch.device("meta"):  # 62 M parameters need not be filled to be counted
        return Darknet(parse_cfg(yolov3_cfg()))


def test_yolov3_has_its_published_number_of_parameters(yolov3: Darknet) -> None:
    trained = sum(p.numel() for p in yolov3.parameters())
    statistics = sum(b.numel() for name, b in yolov3.named_buffers() if "running" in name)

    assert trained == 61_949_149  # "61.9 M"
    assert 4 * (trained + statistics) + 20 == 248_007_048  # bytes of the official yolov3.weights


def test_yolov3_is_cut_at_the_first_shortcut_of_stride_8(yolov3: Darknet) -> None:
    assert len(yolov3.layers) == 107
    assert yolov3.split_point(YOLOV3_SPLIT) == SplitPoint(YOLOV3_SPLIT, 256, 8)
    assert [(h.layer, h.stride) for h in yolov3.head_specs] == [(82, 32), (94, 16), (106, 8)]
    with pytest.raises(SplitError, match="layer 98 .route. reads layer 36"):
        yolov3.split_point(40)


def test_yolov3_runs_at_any_multiple_of_32(yolov3: Darknet) -> None:
    heads = yolov3.eval()(torch.empty(2, 3, 96, 160, device="meta"))

    assert [head.shape for head in heads] == [(2, 255, 3, 5), (2, 255, 6, 10), (2, 255, 12, 20)]
