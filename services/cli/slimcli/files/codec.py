"""`slimwire encode`, `upgrade`, `decode`: pictures to containers and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.models import open_codec, open_runtime
from slimcli.options import (
    Force,
    Model,
    Models,
    Output,
    Picture,
    Precision,
    PrecisionOption,
    Threads,
)
from slimcli.output import refuse_existing, say, write_bytes
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.encode import EncodedImage


def register(app: typer.Typer) -> None:
    app.command()(encode)
    app.command()(upgrade)
    app.command()(decode)


def encode(
    image: Picture,
    output: Output,
    level: Annotated[
        int, typer.Option("--level", "-l", min=0, help="Width of the encoder; 0 is the narrowest.")
    ] = 0,
    quality: Annotated[
        float | None,
        typer.Option(
            "--quality",
            "-q",
            min=0,
            help="0 is the coarsest, fractions lie between; not given: the middle one.",
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Encode a picture into a container."""
    from slimcodec.encode import Encoder
    from slimcodec.image import load_image

    refuse_existing(output, force=force)
    pixels = load_image(image)
    artifact = open_codec(model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))
    if quality is None:
        quality = artifact.manifest.qualities // 2

    encoded = encoder.encode(pixels, level, quality)
    write_bytes(output, encoded.bitstream, force=force)
    say(_summary(output, encoded))


def upgrade(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The container sent first.")],
    image: Picture,
    output: Output,
    level: Annotated[
        int | None, typer.Option("--level", "-l", min=1, help="Up to here; not given: the widest.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Encode only what a container lacks: an enhancement for `decode BASE --with`."""
    from slimcodec.encode import Encoder
    from slimcodec.image import load_image

    refuse_existing(output, force=force)
    base_bitstream = base.read_bytes()
    pixels = load_image(image)
    encoder = Encoder(open_codec(model, models), open_runtime(threads, precision))

    encoded = encoder.enhance(pixels, base_bitstream, level)
    write_bytes(output, encoded.bitstream, force=force)
    say(_summary(output, encoded))


def decode(
    container: Annotated[Path, typer.Argument(metavar="F", help="A container.")],
    output: Output,
    enhancement: Annotated[
        Path | None, typer.Option("--with", metavar="ENH", help="What `upgrade` made for it.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Decode a container to a picture; the suffix of the output names the format."""
    from slimcodec.decode import Decoder
    from slimcodec.image import image_bytes

    refuse_existing(output, force=force)
    base_bitstream = container.read_bytes()
    enhancement_bitstream = None if enhancement is None else enhancement.read_bytes()
    decoder = Decoder(open_codec(model, models), open_runtime(threads, precision))

    latent = decoder.decode_latent(base_bitstream, enhancement_bitstream)
    image = decoder.decode_image(latent)
    write_bytes(output, image_bytes(image, output.suffix), force=force)
    h, w = latent.image_hw
    say(f"{output}: {w} x {h} pixels from level {latent.level}, quality {latent.quality:g}")


def _summary(path: Path, encoded: EncodedImage) -> str:
    h, w = encoded.image_hw
    return (
        f"{path}: {len(encoded.bitstream):,} bytes, {encoded.bpp:.4f} bits per pixel, "
        f"level {encoded.level}, quality {encoded.quality:g}, {w} x {h} pixels, "
        f"{encoded.encode_seconds:.3f} s"
    )
