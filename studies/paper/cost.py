"""What the codec of a recipe computes: multiply-accumulates per pixel of the picture, part by part.

    python -m studies.paper.cost RECIPE... [--features N]

prints the table of the README. Levels narrowest first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import typer

from slimcodec.model.find import find_model
from slimcodec.model.load import load_detector_artifact
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.count import count_macs
from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.codec.start import shape_for
from slimtrain.recipe.schema import load_recipe
from studies.paper.hyperprior import Hyperprior
from studies.paper.recipe import PaperRecipe, build_codec

YOLOV3_CHANNELS = 256  # at the split of the official YOLOv3, its layer 15
COUNTED_SIDE = 64  # pixels; a multiple of every padding, so that no border adds


@dataclass(frozen=True, slots=True)
class CodecCost:
    """kMAC per pixel; by level, narrowest first, where a part has levels."""

    g_a: tuple[float, ...]
    h_a: tuple[float, ...]  # zero without a hyperprior
    h_s: tuple[float, ...]  # runs at the edge and in the cloud
    feature_transform: float
    g_s: float
    trained_parameters: int


def main(
    recipes: Annotated[list[str], typer.Argument()],
    features: Annotated[int, typer.Option(help="Channels at the split.")] = YOLOV3_CHANNELS,
) -> None:
    """Print a row for each recipe."""
    typer.echo("| recipe | g_a | h_a | h_s | feature transform | g_s | parameters, M |")
    typer.echo("|---|---|---|---|---|---|---|")
    for name in recipes:
        cost = count_recipe(name, features)
        by_level = [
            ", ".join(f"{kmac:.2f}" for kmac in part) if any(part) else "-"
            for part in (cost.g_a, cost.h_a, cost.h_s)
        ]
        rest = [cost.feature_transform, cost.g_s, cost.trained_parameters / 1e6]
        typer.echo(f"| {' | '.join([name, *by_level, *(f'{value:.2f}' for value in rest)])} |")


def count_recipe(name: str, feature_channels: int) -> CodecCost:
    """Count the codec of a recipe for a detector with so many channels at its split.

    A feature transform with a stem is counted with that of the recipe's own detector.

    Raises:
        RecipeError: there is no such recipe of a codec.
        ModelError: its detector is not there.
    """
    recipe = load_recipe(name, PaperRecipe)
    config = recipe.codec or CodecConfig()
    if config.feature_transform == "stem":
        artifact = load_detector_artifact(find_model("detector", recipe.detector))
        graph = Darknet(parse_cfg(artifact.file("detector.cfg").read_text(encoding="utf-8")))
        return count_codec(build_codec(shape_for(config, graph, artifact.manifest.split.layer)))
    return count_codec(build_codec(replace(config, feature_channels=feature_channels)))


def count_codec(codec: CodecNet) -> CodecCost:
    """Count every part while it runs on an empty picture; what the edge runs as it is exported."""
    config = codec.config
    shapes = [replace(config.only(level), sharing="nested") for level in range(config.num_levels)]
    levels = [build_codec(shape) for shape in shapes]
    x = torch.zeros(1, 3, COUNTED_SIDE, COUNTED_SIDE)
    latent_side = COUNTED_SIDE // LATENT_STRIDE
    y_hat = torch.zeros(1, config.latent_channels[-1], latent_side, latent_side)
    one_hot = torch.eye(config.num_levels)[-1:]
    hyper = [_count_hyperprior(alone, latent_side) for alone in levels]
    return CodecCost(
        g_a=tuple(_per_pixel(count_macs(alone.g_a, x, 0)) for alone in levels),
        h_a=tuple(h_a for h_a, _ in hyper),
        h_s=tuple(h_s for _, h_s in hyper),
        feature_transform=_per_pixel(count_macs(codec.feature_transform, y_hat, one_hot)),
        g_s=_per_pixel(count_macs(codec.g_s, y_hat, one_hot)),
        trained_parameters=sum(p.numel() for p in codec.parameters() if p.requires_grad),
    )


def _count_hyperprior(codec: CodecNet, latent_side: int) -> tuple[float, float]:
    """h_a and h_s of a codec of one level."""
    prior = codec.prior
    if not isinstance(prior, Hyperprior):
        return 0.0, 0.0
    v = torch.zeros(1, codec.config.latent_channels[0], latent_side, latent_side)
    z_hat = torch.zeros_like(prior.analyse(v, 0))
    analysis = count_macs(prior.analyse, v, 0)
    return _per_pixel(analysis), _per_pixel(count_macs(prior.scale_index, z_hat, 0))


def _per_pixel(macs: int) -> float:
    return macs / COUNTED_SIDE**2 / 1000


if __name__ == "__main__":
    typer.run(main)
