"""`slimwire encode`: a picture into a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slimcli.input import load_picture
from slimcli.models import open_codec, open_runtime
from slimcli.options import (
    Force,
    Level,
    Model,
    Models,
    Output,
    Picture,
    Precision,
    PrecisionOption,
    Quality,
    Threads,
)
from slimcli.output import refuse_existing, say_of, write_bytes
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.encode import EncodedImage


def register(app: typer.Typer) -> None:
    app.command()(encode)


def encode(
    image: Picture,
    output: Output,
    level: Level = 0,
    quality: Quality = None,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Encode a picture into a container."""
    from slimcodec.encode import Encoder

    refuse_existing(output, force=force)
    pixels = load_picture(image)
    artifact = open_codec(model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))
    if quality is None:
        quality = artifact.manifest.qualities // 2

    encoded = encoder.encode(pixels, level, quality)
    write_bytes(output, encoded.bitstream, force=force)
    say_of(output, summary_of(output, encoded))


def summary_of(path: Path, encoded: EncodedImage) -> str:
    """One line about a container that was written."""
    h, w = encoded.image_hw
    return (
        f"{path}: {len(encoded.bitstream):,} bytes, {encoded.bpp:.4f} bits per pixel, "
        f"level {encoded.level}, quality {encoded.quality:g}, {w} x {h} pixels, "
        f"{encoded.encode_seconds:.3f} s"
    )
