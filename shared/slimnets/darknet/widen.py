"""A wider detector that computes the same function, to start training from (Net2Net).

Every channel but the picture's and the heads' is repeated `factor` times; who reads a repeated
channel divides its weights by `factor`. Outputs stay equal up to rounding; a little `noise` lets
the copies part ways in training.
Source: Chen, Goodfellow, Shlens: Net2Net, ICLR 2016, section 2.3, https://arxiv.org/abs/1511.05641.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from slimnets.darknet.cfg import CfgSection, format_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import Convolutional
from slimnets.errors import CfgError

MAX_FACTOR = 16


@torch.no_grad()
def widen(model: Darknet, factor: int, noise: float = 0.0) -> tuple[str, dict[str, Tensor]]:
    """Give the `.cfg` text and the state dict of `model` with `factor` times the channels.

    Args:
        model: any detector; a depthwise layer stays depthwise, its groups grow by `factor`.
        factor: 1 to 16.
        noise: standard deviation of what is added to convolution weights, as a share of each
            layer's own standard deviation; 0 keeps the function.

    Raises:
        CfgError: a grouped convolution that is not depthwise or a route by groups, whose channels
            repetition would mix; or a factor outside 1 to 16.
    """
    if not 1 <= factor <= MAX_FACTOR:
        raise CfgError(f"factor={factor}; expected 1 to {MAX_FACTOR}")
    head_inputs = {head.layer - 1 for head in model.head_specs}
    for number in head_inputs:
        _check_head_input(model, number)
    widths = [1]  # how often each output's channels are repeated; index 0 is the picture
    sections = [model.sections[0]]
    state: dict[str, Tensor] = {}
    for number, (section, layer) in enumerate(zip(model.sections[1:], model.layers, strict=True)):
        source_widths = {widths[source + 1] for source in model.sources(number)}
        if len(source_widths) != 1:
            raise section.fail(f"layer {number} joins the picture or a head with wider layers")
        width_in = source_widths.pop()
        width_out = width_in
        if section.kind == "route" and section.integer("groups", 1) > 1 and factor > 1:
            raise section.fail(f"layer {number} routes by groups and cannot be widened")
        if isinstance(layer, Convolutional):
            width_out = 1 if number in head_inputs else factor
            section = _wider_section(section, layer, number, width_in, width_out)
            for name, tensor in _wider_tensors(layer, width_in, width_out, noise):
                state[f"layers.{number}.{name}"] = tensor
        widths.append(width_out)
        sections.append(section)
    return format_cfg(sections), state


def _check_head_input(model: Darknet, number: int) -> None:
    """A head's convolution stays as wide as it is, so nothing but the head may read it."""
    section = model.sections[number + 1]
    if not isinstance(model.layers[number], Convolutional):
        raise section.fail(
            f"layer {number} feeds a head; expected a convolution to widen before it"
        )
    for later in range(number + 2, len(model.layers)):
        if number in model.sources(later):
            raise section.fail(f"layer {later} reads layer {number}, which belongs to a head")


def _wider_section(
    section: CfgSection, layer: Convolutional, number: int, width_in: int, width_out: int
) -> CfgSection:
    conv = layer.conv
    options = dict(section.options)
    options["filters"] = str(conv.out_channels * width_out)
    if conv.groups > 1 and (width_in > 1 or width_out > 1):
        if not conv.groups == conv.in_channels == conv.out_channels or width_in != width_out:
            raise section.fail(
                f"layer {number} has groups={conv.groups} for {conv.in_channels} -> "
                f"{conv.out_channels} channels; only depthwise groups can be widened"
            )
        options["groups"] = str(conv.groups * width_out)
    return CfgSection(section.kind, options, section.line)


def _wider_tensors(
    layer: Convolutional, width_in: int, width_out: int, noise: float
) -> Iterator[tuple[str, Tensor]]:
    weight = layer.conv.weight
    if layer.conv.groups == 1:
        # Each of the `width_in` copies of an input channel carries an equal part of its weight.
        weight = weight.repeat_interleave(width_in, dim=1) / width_in
    weight = weight.repeat_interleave(width_out, dim=0)
    if noise and weight.numel() > 1:
        weight = weight + noise * weight.std() * torch.randn_like(weight)
    yield "conv.weight", weight
    if layer.conv.bias is not None:
        yield "conv.bias", layer.conv.bias.repeat_interleave(width_out)
    if layer.norm is not None:
        for name in ("weight", "bias", "running_mean", "running_var"):
            yield f"norm.{name}", getattr(layer.norm, name).repeat_interleave(width_out)
        tracked = layer.norm.num_batches_tracked
        assert tracked is not None
        yield "norm.num_batches_tracked", tracked.clone()
