"""`slimwire upgrade`: what a container lacks of its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.files.encode import summary_of
from slimcli.input import load_picture, read_bytes, refuse_two_standard
from slimcli.models import open_codec_of, open_runtime
from slimcli.options import (
    Force,
    ModelOfContainer,
    Models,
    Output,
    Picture,
    Precision,
    PrecisionOption,
    Threads,
)
from slimcli.output import refuse_existing, say_of, write_bytes


def register(app: typer.Typer) -> None:
    app.command()(upgrade)


def upgrade(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="The container sent first; - is standard input.")
    ],
    image: Picture,
    output: Output,
    level: Annotated[
        int | None, typer.Option("--level", "-l", min=1, help="Up to here; not given: the widest.")
    ] = None,
    model: ModelOfContainer = None,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Encode what a container lacks, for `decode --with`."""
    from slimcodec.encode import Encoder

    refuse_two_standard(base, image)
    refuse_existing(output, force=force)
    base_bitstream = read_bytes(base)
    pixels = load_picture(image)
    artifact = open_codec_of(base_bitstream, model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))

    encoded = encoder.enhance(pixels, base_bitstream, level)
    write_bytes(output, encoded.bitstream, force=force)
    say_of(output, summary_of(output, encoded))
