"""`slimwire decode`: a container into a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.input import read_bytes, refuse_two_standard
from slimcli.models import open_codec_of, open_runtime
from slimcli.options import (
    Container,
    Force,
    ModelOfContainer,
    Models,
    Output,
    Precision,
    PrecisionOption,
    Threads,
)
from slimcli.output import refuse_existing, say_of, write_picture


def register(app: typer.Typer) -> None:
    app.command()(decode)


def decode(
    container: Container,
    output: Output,
    enhancement: Annotated[
        Path | None, typer.Option("--with", metavar="ENH", help="What `upgrade` made for it.")
    ] = None,
    model: ModelOfContainer = None,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Decode a container to a picture. The suffix of the output names the format."""
    from slimcodec.decode import Decoder

    refuse_two_standard(container, enhancement)
    refuse_existing(output, force=force)
    base_bitstream = read_bytes(container)
    enhancement_bitstream = None if enhancement is None else read_bytes(enhancement)
    artifact = open_codec_of(base_bitstream, model, models)
    decoder = Decoder(artifact, open_runtime(threads, precision))

    latent = decoder.decode_latent(base_bitstream, enhancement_bitstream)
    write_picture(output, decoder.decode_image(latent), force=force)
    h, w = latent.image_hw
    say_of(
        output, f"{output}: {w} x {h} pixels from level {latent.level}, quality {latent.quality:g}"
    )
