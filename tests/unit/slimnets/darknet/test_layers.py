"""Each Darknet layer against its meaning, and configurations that cannot be built."""

import re

import pytest
import torch

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import MaxPool, Route, Shortcut
from slimnets.errors import CfgError
from support.models.darknets import convolution

HEAD = (
    "[convolutional]\nfilters=8\nactivation=linear\n[yolo]\nmask=0\nanchors=4,5\nclasses=3\nnum=1\n"
)


def build(body: str, head: str = HEAD) -> Darknet:
    return Darknet(parse_cfg(f"[net]\nchannels=3\n{body}\n{head}"))


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (2, 2), (3, 2), (5, 1), (9, 1)])
@pytest.mark.parametrize("side", [1, 7, 8])
def test_maxpool_pads_as_darknet_does(size: int, stride: int, side: int) -> None:
    x = torch.randn(2, 3, side, side + 1, generator=torch.Generator().manual_seed(0)) - 5
    padding = size - 1
    before, (h, w) = padding // 2, x.shape[2:]

    y = MaxPool(size, stride, padding)(x)

    out_h, out_w = (h + padding - size) // stride + 1, (w + padding - size) // stride + 1
    assert y.shape == (2, 3, out_h, out_w)
    for i in range(out_h):
        for j in range(out_w):
            top, left = i * stride - before, j * stride - before
            rows = slice(max(top, 0), min(top + size, h))
            columns = slice(max(left, 0), min(left + size, w))
            assert torch.equal(y[:, :, i, j], x[:, :, rows, columns].amax((2, 3)))


def test_route_takes_one_group_of_every_source() -> None:
    a = torch.arange(4.0).view(1, 4, 1, 1)
    b = torch.arange(10.0, 12.0).view(1, 2, 1, 1)

    assert Route(groups=2, group_id=1)(a, b).flatten().tolist() == [2, 3, 11]


def test_shortcut_adds_all_its_sources() -> None:
    x = torch.ones(1, 1, 1, 1)

    assert Shortcut("relu")(x, 2 * x, -4 * x).item() == 0.0


def test_a_grouped_convolution_reads_only_its_group() -> None:
    model = build("[convolutional]\nfilters=4\n[convolutional]\nfilters=4\ngroups=2")
    before, after = (model.layers[i] for i in (0, 1))
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    y = before(x)
    changed = y.clone()
    changed[:, 2:] += 1

    assert torch.equal(after(y)[:, :2], after(changed)[:, :2])
    assert not torch.equal(after(y)[:, 2:], after(changed)[:, 2:])


def test_darknet_pads_by_half_the_kernel_or_by_the_stated_padding() -> None:
    model = build(
        "[convolutional]\nfilters=4\nsize=5\npad=1\n[convolutional]\nfilters=4\nsize=3\npadding=1"
    )

    assert [convolution(model, i).conv.padding for i in (0, 1)] == [(2, 2), (1, 1)]


def test_a_head_starts_with_few_objects() -> None:
    model = build("[convolutional]\nfilters=4\nbatch_normalize=1\nactivation=leaky").train()

    raw = model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))[0]

    assert torch.sigmoid(raw[:, 4]).mean().item() == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[lstm]", "[lstm] is not a known layer; this build knows conv"),
        ("[convolutional]\nactivation=gelu", "activation=gelu; this build knows linear, leaky"),
        ("[convolutional]\nfilters=4\ngroups=3", "groups=3 divides not both 3 inputs and 4"),
        ("[convolutional]\nxnor=1", "xnor=1 is not supported"),
        ("[convolutional]\nfilters=0", "filters=0; expected 1 to"),
        (
            "[convolutional]\n[shortcut]\nfrom=-3",
            "layer 1 reads layer -2; expected one from 0 to 0",
        ),
        (
            "[convolutional]\nfilters=2\n[convolutional]\n[shortcut]\nfrom=-2",
            "expected equal shapes",
        ),
        ("[convolutional]\n[route]\nlayers=7", "layer 1 reads layer 7"),
        ("[convolutional]\n[route]\nlayers=,", "names no layer in 'layers'"),
        (
            "[convolutional]\n[convolutional]\nstride=2\n[route]\nlayers=0,1",
            "layer 2 joins layers of strides [1, 2]",
        ),
        (
            "[convolutional]\nfilters=3\n[route]\nlayers=0\ngroups=2",
            "does not divide the 3 channels",
        ),
        ("[convolutional]\n[route]\nlayers=0\ngroups=2\ngroup_id=2", "group_id=2; expected 0 to 1"),
        ("[upsample]\nstride=2", "enlarges beyond the picture"),
        ("[upsample]\nstride=1\nscale=2", "scale=2.0; expected 1.0"),
        ("[convolutional]\nstride_x=2\nstride_y=1", "stride_x=2 and stride_y=1; expected equal"),
        ("[convolutional]\ncoordconv=1", "coordconv=1 is not supported"),
        ("[maxpool]\nsize=2\nstride=2\nmaxpool_zero_nonmax=1", "maxpool_zero_nonmax=1 is not"),
        ("[route]\nlayers=-1\nnew_option=yes", "new_option=yes is not supported"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(body: str, message: str) -> None:
    with pytest.raises(CfgError, match=re.escape(message)):
        build(body)


@pytest.mark.parametrize(
    ("yolo", "message"),
    [
        ("mask=0\nanchors=4,5\nclasses=4\nnum=1", "1 anchors of 5 + 4 values need 9"),
        ("mask=1\nanchors=4,5\nclasses=3\nnum=1", "mask=1; expected numbers from 0 to 0"),
        ("mask=0\nanchors=4\nclasses=3\nnum=1", "has 1 anchor sides; expected 2 * num = 2"),
        ("mask=0\nanchors=4,-5\nclasses=3\nnum=1", "expected more than 0 pixels"),
        ("mask=0\nclasses=3\nnum=1", "has no 'anchors'"),
        ("mask=0\nanchors=4,5\nclasses=3\nnum=1\nscale_x_y=0", "scale_x_y=0.0; expected 1.0"),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(yolo: str, message: str) -> None:
    with pytest.raises(CfgError, match=re.escape(message)):
        build("", f"[convolutional]\nfilters=8\n[yolo]\n{yolo}\n")


def test_strides_by_axis_go_before_the_stride() -> None:
    model = build("[convolutional]\nfilters=4\nstride=1\nstride_x=2\nstride_y=2")

    assert model.head_specs[0].stride == 2


def test_options_of_training_and_those_that_are_off_are_passed_over() -> None:
    build("[convolutional]\nxnor=0\nstopbackward=1\n[shortcut]\nfrom=-1\nweights_type=none")


def test_a_head_says_how_it_is_read_and_trained() -> None:
    yolo = "mask=0\nanchors=4,5\nclasses=3\nnum=1\nnew_coords=1\niou_thresh=.3\nignore_thresh=.7"
    (head,) = build("", f"[convolutional]\nfilters=8\n[yolo]\n{yolo}\n").head_specs

    assert (head.new_coords, head.iou_thresh, head.ignore_thresh) == (True, 0.3, 0.7)


def test_a_graph_without_a_head_is_refused() -> None:
    with pytest.raises(CfgError, match="no \\[yolo\\] layer"):
        build("[convolutional]", head="")
