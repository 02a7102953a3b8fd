"""A trained codec of the paper's kinds -> `models/<name>/<version>/`, served as any other.

nested, hyperprior   tables of z by channel and of y by scale; g_a, h_a and h_s of each level
switchable           each level a codec of one level, their tables side by side
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables
from slimcodec.model.manifest import ModelReference, Task
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.count import count_macs
from slimnets.export.codec import export_feature_transform, export_g_a, export_g_s
from slimnets.export.onnx_file import save_graph, save_weights
from slimnets.export.tabulate import (
    PRIOR_COUNT,
    REACH,
    TABLE_STEPS,
    add_counts,
    count_symbols,
    join_tables,
    probabilities,
    table_qualities,
    to_tables,
)
from slimtrain.codec.artifact import COUNTED_SIDE, CodecParts, structure_of, write_codec_artifact
from slimtrain.loop.checkpoint import load_checkpoint
from studies.paper.config import PaperConfig
from studies.paper.hyperprior import NUM_SCALES, SCALES
from studies.paper.hyperprior_codec import HyperpriorCodec
from studies.paper.hyperprior_graphs import export_h_a, export_h_s
from studies.paper.recipe import build_codec
from studies.paper.switchable import SwitchableCodec

HYPER_STRIDE = 4 * LATENT_STRIDE  # pixels
_SCALED_REACH = math.ceil(5 * SCALES[-1])  # of symbols by scale: 6e-7 of the widest lies beyond


def load_trained(checkpoint: Path) -> tuple[CodecNet, list[list[Task]]]:
    """The codec of a training run with its averaged weights, and what each level is for."""
    state = load_checkpoint(checkpoint)
    codec = build_codec(PaperConfig(**state["config"]))
    codec.load_state_dict(state["average"]["state"])
    return codec.float().eval(), state.get("tasks", [])


def write_paper_artifact(
    codec: CodecNet,
    pictures: Iterable[NDArray[np.uint8]],
    out_dir: Path,
    detector: ModelReference,
    licence: str,
    tasks: list[list[Task]],
) -> Path:
    """Write the folder of a codec; arguments as `slimtrain.codec.artifact.write_codec_artifact`."""
    is_switchable = isinstance(codec, SwitchableCodec)
    parts = CodecParts(tabulate, write_graphs, structure, "separate" if is_switchable else "nested")
    return write_codec_artifact(codec, pictures, out_dir, detector, {}, {}, licence, tasks, parts)


def tabulate(
    codec: CodecNet, pictures: Iterable[Tensor], table_steps: int = TABLE_STEPS
) -> tuple[Tables, SymbolTables | None]:
    """As `slimnets.export.tabulate.tabulate`; with a hyperprior the tables by channel are those of
    z, and there are tables of y, one for each scale.
    """
    x, counted, by_scale = list(pictures), [], []
    for alone in _apart(codec):
        if isinstance(alone, HyperpriorCodec):
            of_z, of_y = _count_with_scales(alone, x, table_steps)
            by_scale.append(of_y)
        else:
            of_z = count_symbols(alone, x, table_steps)
        counted.append(of_z)
    by_channel = join_tables(codec, np.concatenate(counted, axis=1), table_steps)
    if not by_scale:
        return by_channel, None
    return by_channel, to_tables(np.sum(by_scale, 0) + PRIOR_COUNT * _gaussian_probabilities())


def write_graphs(codec: CodecNet, folder: Path) -> None:
    """Write the codec's weights into its folder, and the graphs."""
    weights = save_weights(codec, folder)
    alone = _apart(codec)
    for number in range(codec.config.num_levels):
        # a switchable level's weights are its own graphs', slices of what is stored
        is_apart = isinstance(codec, SwitchableCodec)
        one, level, stored = (alone[number], 0, None) if is_apart else (codec, number, weights)
        save_graph(export_g_a(one, level, stored), folder / f"g_a_{number}.onnx")
        if isinstance(one, HyperpriorCodec):
            save_graph(export_h_a(one.prior, level, stored), folder / f"h_a_{number}.onnx")
            save_graph(export_h_s(one.prior, level, stored), folder / f"h_s_{number}.onnx")
    save_graph(export_g_s(codec, weights), folder / "g_s.onnx")
    save_graph(export_feature_transform(codec, weights), folder / "feature_transform.onnx")


def structure(config: CodecConfig) -> dict[str, object]:
    """As `slimtrain.codec.artifact.structure_of`; the edge runs h_a and h_s, too."""
    said = structure_of(config)
    if not isinstance(config, PaperConfig) or config.prior != "hyperprior":
        return said
    levels = said["levels"]
    assert isinstance(levels, list)
    for number, (level, channels) in enumerate(zip(levels, config.hyper_channels, strict=True)):
        dense = HyperpriorCodec(config.alone(number))
        v = torch.zeros(1, dense.config.latent_channels[0], *[COUNTED_SIDE // LATENT_STRIDE] * 2)
        level["kmac_per_pixel"] += count_macs(dense.prior, v, 0) / COUNTED_SIDE**2 / 1000
        level["hyper_channels"] = channels
    return {**said, "hyper_stride": HYPER_STRIDE}


def _apart(codec: CodecNet) -> list[CodecNet]:
    """Those whose symbols are counted each by itself."""
    if not isinstance(codec, SwitchableCodec):
        return [codec]
    return [codec.alone(level) for level in range(codec.config.num_levels)]


@torch.no_grad()
def _count_with_scales(
    codec: HyperpriorCodec, pictures: Iterable[Tensor], table_steps: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Symbols of z as `count_symbols` has those of y, and those of y by scale, (64, symbols)."""
    widest, prior = codec.config.num_levels - 1, codec.prior
    qualities = table_qualities(codec, table_steps)
    counts = np.zeros((len(qualities), prior.hyper_prefix[-1], 2 * REACH + 1), np.int64)
    by_scale = np.zeros((NUM_SCALES, 2 * _SCALED_REACH + 1), np.int64)
    for x in pictures:
        y = codec.analyse(x, widest)
        for row, quality in enumerate(qualities):
            v = y * codec.gains(quality[None], widest)[0][:, :, None, None]
            z_hat = prior.analyse(v, widest).round()
            add_counts(by_scale, prior.scale_index(z_hat, widest).long(), v)
            channel = torch.arange(z_hat.shape[1])[:, None, None].expand_as(z_hat)
            add_counts(counts[row], channel, z_hat)
    if not counts.any():
        raise ValueError("no pictures to count symbols on")
    density = probabilities(prior.prior, torch.ones(1, prior.hyper_prefix[-1]))
    return counts + PRIOR_COUNT * density, by_scale


def _gaussian_probabilities() -> NDArray[np.float64]:
    """(64, 2 * reach + 1), mean zero, deviations `SCALES`."""
    ends = (np.arange(-_SCALED_REACH, _SCALED_REACH + 2) - 0.5).tolist()
    rows = [[0.5 * math.erfc(-end / scale / math.sqrt(2)) for end in ends] for scale in SCALES]
    return np.diff(np.array(rows))
