"""Options that the commands share that train, measure and make models."""

from pathlib import Path
from typing import Annotated

import typer

# Of pictures in memory: enough for crops of 256 pixels, and thousands of them fit.
TRAINING_MAX_EDGE = 640

IMAGES = typer.Option(
    "--images",
    metavar="DIR",
    exists=True,
    file_okay=False,
    help="Pictures, there or in DIR/images with DIR/labels beside it. May be repeated.",
)
Images = Annotated[list[Path], IMAGES]
Validation = Annotated[
    bool, typer.Option("--validation", help="Only pictures that training never uses.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Of the run; one that is there goes on.")
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
Cfg = Annotated[Path, typer.Option(metavar="F.cfg", exists=True, help="Darknet's graph.")]
Weights = Annotated[Path, typer.Option(metavar="F.weights", exists=True, help="Its weights.")]
Names = Annotated[Path, typer.Option(metavar="F.names", exists=True, help="A class a line.")]
Split = Annotated[
    int | None,
    typer.Option(
        min=0, help="Layer after which to cut; not given: the first shortcut at stride 8."
    ),
]
Licence = Annotated[str, typer.Option("--licence", help="Who may use the weights for what.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of every random draw.")]
