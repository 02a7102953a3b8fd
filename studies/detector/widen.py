"""A detector with more channels in some layers, which begins by saying the same.

    OLD.cfg, OLD.weights, numbers of filters, old = new -> WIDE.cfg, WIDE.weights

Of the layers from a first one on those with a norm are widened. New channels begin at random, and
no old channel reads one yet.

    python -m studies.detector.widen OLD.cfg,OLD.weights WIDE.cfg WIDE.weights
        --first 115 --filters 96=160 144=208 48=64 80=96

Source: Chen et al., Net2Net, ICLR 2016, https://arxiv.org/abs/1511.05641, with random new units in
the place of doubled ones.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from slimnets.darknet.cfg import CfgSection, format_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.layers import Convolutional, Route
from slimnets.darknet.weights import save_darknet_weights
from slimtrain.detector.artifact import DarknetFiles

NEW = -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=DarknetFiles.named)
    parser.add_argument("cfg", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--first", type=int, required=True, help="number of a layer")
    parser.add_argument("--filters", nargs="+", required=True, metavar="OLD=NEW")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    old = options.old.load()
    filters = dict(pair.split("=") for pair in options.filters)
    wide = Darknet(widen_sections(old.sections, options.first, filters))
    widen(old, wide)
    wide.seen = old.seen
    options.cfg.write_text(format_cfg(wide.sections))
    save_darknet_weights(wide, options.weights)


def widen_sections(
    sections: Sequence[CfgSection], first: int, filters: Mapping[str, str]
) -> list[CfgSection]:
    """The sections with other numbers of filters, and of groups where these are as many."""
    return [
        replace(section, options=_widen_options(section.options, filters))
        if number >= first and "batch_normalize" in section.options
        else section
        for number, section in enumerate(sections, start=-1)  # [net] is no layer
    ]


def _widen_options(options: Mapping[str, str], filters: Mapping[str, str]) -> dict[str, str]:
    counts = {key: options[key] for key in ("filters", "groups") if key in options}
    return {**options, **{key: filters.get(count, count) for key, count in counts.items()}}


@torch.no_grad()
def widen(old: Darknet, wide: Darknet) -> None:
    """Give `wide` the weights of `old`."""
    channels = old.sections[0].integer("channels", 3)
    comes_from = {-1: list(range(channels))}  # layer -> old number of each channel, or NEW
    for number, layer in enumerate(wide.layers):
        given = [comes_from[source] for source in wide.sources[number]]
        if isinstance(layer, Convolutional):
            before = old.layers[number]
            assert isinstance(before, Convolutional)
            comes_from[number] = _widen_layer(before, layer, given[0])
        elif isinstance(layer, Route):
            widths = [old.shapes[source].channels for source in old.sources[number]]
            comes_from[number] = [
                NEW if channel == NEW else channel + sum(widths[:index])
                for index, source in enumerate(given)
                for channel in source
            ]
        else:
            comes_from[number] = given[0]


def _widen_layer(before: Convolutional, layer: Convolutional, inputs: list[int]) -> list[int]:
    old, new = before.conv.weight, layer.conv.weight
    is_by_channel = layer.conv.groups == len(inputs) > 1
    kept = torch.tensor(inputs)
    rows = kept if is_by_channel else torch.arange(len(new))
    rows = torch.where(rows < len(old), rows, NEW)
    is_old = rows != NEW
    nn.init.kaiming_normal_(new, a=0.1)
    if is_by_channel:
        new[is_old] = old[rows[is_old]]
    else:
        taken = new.new_zeros(int(is_old.sum()), *new.shape[1:])
        taken[:, kept != NEW] = old[rows[is_old]][:, kept[kept != NEW]]
        new[is_old] = taken
    for ours, theirs in zip(_by_channel(layer), _by_channel(before), strict=True):
        ours[is_old] = theirs[rows[is_old]]
    numbers: list[int] = rows.tolist()
    return numbers


def _by_channel(layer: Convolutional) -> list[Tensor]:
    norm = layer.norm
    if norm is None:
        return [layer.conv.get_parameter("bias")]
    return [norm.weight, norm.bias, norm.get_buffer("running_mean"), norm.get_buffer("running_var")]


if __name__ == "__main__":
    main()
