"""`slimwire evaluate`: bytes against accuracy, ours and JPEG's. Needs the extra `train`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from slimcli.extras import needs_extra
from slimcli.models import detector_folder, open_codec
from slimcli.options import DEFAULT_MODEL, Model, Models
from slimcli.output import say


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    images: Annotated[
        Path,
        typer.Option(
            "--images", metavar="DIR", exists=True, help="Pictures, there or in DIR/images."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For table.json and table.md.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            exists=True,
            help="YOLO text; not given: what the detector sees in the uncompressed pictures.",
        ),
    ] = None,
    level: Annotated[
        list[int] | None, typer.Option("--level", min=0, help="Only this; may be repeated.")
    ] = None,
    quality: Annotated[
        list[int] | None, typer.Option("--quality", min=0, help="Only this; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Only pictures that training never uses.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also write the model's profile.json.")
    ] = False,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
) -> None:
    """Measure every level and quality of a codec, and a JPEG ladder, on the same pictures."""
    with needs_extra("train", "evaluate"):
        from slimtrain import evaluate as measuring
        from slimtrain.split import is_validation

    codec = open_codec(model, models)
    result = measuring.evaluate(
        codec.directory,
        detector_folder(codec, models),
        images,
        labels,
        out,
        levels=level or None,
        qualities=quality or None,
        limit=limit,
        keep=is_validation if validation else None,
    )
    if profile:
        command = shlex.join(["slimwire", *sys.argv[1:]])
        measuring.write_profile(result, codec.directory, command)
    say(measuring.format_table(result))
