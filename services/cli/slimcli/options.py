"""Options that several commands share, with one wording each."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Picture = Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture; - is standard input.")]
Container = Annotated[Path, typer.Argument(metavar="F", help="A container; - is standard input.")]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output."),
]
Level = Annotated[
    int, typer.Option("--level", "-l", min=0, help="Width of the encoder; 0 is the narrowest.")
]
Quality = Annotated[
    float | None,
    typer.Option(
        "--quality",
        "-q",
        min=0,
        help="0 is the coarsest, fractions lie between; not given: the middle one.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", envvar="SLIMWIRE_MODEL", help="Codec by name, or pinned as name/version."
    ),
]
ModelOfContainer = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="SLIMWIRE_MODEL",
        help="Codec by name, or pinned as name/version; not given: the one that made the "
        "container.",
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="DIR",
        envvar="SLIMWIRE_MODELS",
        help="Where the models are; not given: those that came with this program.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings as YAML, under the environment; not given: SLIMWIRE_CONFIG, if set.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of the graphs; not given: all processors."),
]
Precision = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option("--precision", help="auto takes bf16 where the processor has it."),
]
