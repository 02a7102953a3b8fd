"""What the commands that train share: their options, and the pictures, divided once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.streams import say

if TYPE_CHECKING:
    from slimtrain.data.pictures import Pictures

# Of pictures in memory: enough for crops of 256 pixels, and thousands of them fit.
TRAINING_MAX_EDGE = 640

Images = Annotated[
    list[Path],
    typer.Option(
        "--images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Pictures, there or in DIR/images with DIR/labels beside it. May be repeated.",
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Of the run; one that is there goes on."),
]
To = Annotated[
    Path,
    typer.Option(
        "--to", metavar="DIR", help="models/<name>/<version> of the result; must not exist."
    ),
]
Recipe = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="F.yaml", help="What to train: a file, or a name in recipes/."
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Of the whole schedule.")]
Seconds = Annotated[
    float | None, typer.Option(min=1, help="Stop after this long, with a checkpoint.")
]
Batch = Annotated[int | None, typer.Option(min=1, help="Pictures per step, over all processes.")]
LearningRate = Annotated[float | None, typer.Option(min=1e-6, help="Peak.")]
MaxEdge = Annotated[
    int, typer.Option(min=64, help="Longest side of the pictures in memory, pixels.")
]
TorchThreads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of torch on the CPU; not given: its choice.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda; not given: cuda where there is one.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of every random draw.")]


def load_divided(images: list[Path], max_edge: int) -> tuple[Pictures, Pictures]:
    """The pictures to train on and those for validation.

    Raises:
        BadUsageError: too few for both.
    """
    from slimtrain.data.pictures import divide, index_pictures, load_pictures

    for_training, for_validation = divide(index_pictures(images))
    if not for_training or not for_validation:
        raise BadUsageError(
            f"{len(for_training)} pictures to train on and {len(for_validation)} for validation, "
            "which is one in ten by name; give more pictures"
        )
    say(f"{len(for_training)} pictures to train on, {len(for_validation)} for validation")
    return load_pictures(for_training, max_edge), load_pictures(for_validation, max_edge)


def only_given(**options: float | str | None) -> dict[str, float | str]:
    """The options that were given: a recipe or a trainer decides the others."""
    return {name: value for name, value in options.items() if value is not None}


def best_device() -> str:
    """cuda where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
