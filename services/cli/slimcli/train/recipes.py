"""`slimwire recipes`: what can be trained, and what a recipe's codec would compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import needs_extra
from slimcli.streams import say

if TYPE_CHECKING:
    from slimtrain.recipe.cost import CodecCost

YOLOV3_CHANNELS = 256  # at the split of the official YOLOv3, its layer 15


def recipes(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Count these codecs.")
    ] = None,
    features: Annotated[
        int, typer.Option("--features", min=1, help="Channels at the detector's split.")
    ] = YOLOV3_CHANNELS,
) -> None:
    """List the recipes, or count what their codecs compute."""
    if not name:
        with needs_extra("train", "recipes"):
            from slimtrain.recipe.find import describe_recipes

        for found, about in describe_recipes():
            say(f"{found:<24} {about}")
        return
    with needs_extra("train", "recipes RECIPE"):
        from slimtrain.recipe.cost import count_recipe

    say(
        f"kMAC per pixel of the picture, levels narrowest first; {features} feature "
        "channels; a stem is that of the recipe's own detector."
    )
    say()
    say("| recipe | g_a | h_a | h_s | feature transform | g_s | parameters, M |")
    say("|---|---|---|---|---|---|---|")
    for each in name:
        say(_row(each, count_recipe(each, features)))


def _row(name: str, cost: CodecCost) -> str:
    by_level = [
        ", ".join(f"{kmac:.2f}" for kmac in part) if any(part) else "-"
        for part in (cost.g_a, cost.h_a, cost.h_s)
    ]
    millions = cost.trained_parameters / 1e6
    cells = [name, *by_level, f"{cost.feature_transform:.2f}", f"{cost.g_s:.2f}", f"{millions:.2f}"]
    return f"| {' | '.join(cells)} |"
