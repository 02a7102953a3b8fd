"""`slimwire encode`, `upgrade`, `decode` and `inspect`: a picture into containers, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli import options, streams
from slimcli.exits import about
from slimcli.models import open_codec, open_codec_of, open_runtime
from slimcli.streams import say
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.encode import EncodedImage


def encode(
    image: options.Picture,
    output: options.Output,
    level: options.Level = 0,
    quality: options.Quality = None,
    model: options.Model = DEFAULT_MODEL,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Encode a picture into a container."""
    from slimcodec.encode import Encoder

    streams.refuse_existing(output, force=force)
    pixels = streams.load_picture(image)
    artifact = open_codec(model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))
    if quality is None:
        quality = artifact.manifest.qualities // 2

    _write(output, encoder.encode(pixels, level, quality), force=force)


def upgrade(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="The container sent first; - is standard input.")
    ],
    image: options.Picture,
    output: options.Output,
    level: Annotated[
        int | None, typer.Option("--level", "-l", min=1, help="Up to here; not given: the widest.")
    ] = None,
    model: options.ModelOfContainer = None,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Encode what a container lacks, for `decode --with`."""
    from slimcodec.encode import Encoder

    streams.refuse_two_standard(base, image)
    streams.refuse_existing(output, force=force)
    base_bitstream = streams.read_container(base)
    pixels = streams.load_picture(image)
    artifact = open_codec_of(base_bitstream, model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))

    _write(output, encoder.enhance(pixels, base_bitstream, level), force=force)


def decode(
    container: options.Container,
    output: options.Output,
    enhancement: Annotated[
        Path | None, typer.Option("--with", metavar="ENH", help="What `upgrade` made for it.")
    ] = None,
    model: options.ModelOfContainer = None,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Decode a container to a picture. The suffix of the output names the format."""
    from slimcodec.decode import Decoder

    streams.refuse_two_standard(container, enhancement)
    streams.refuse_existing(output, force=force)
    base_bitstream = streams.read_container(container)
    enhancement_bitstream = None if enhancement is None else streams.read_container(enhancement)
    artifact = open_codec_of(base_bitstream, model, models)
    decoder = Decoder(artifact, open_runtime(threads, precision))

    with about(container if enhancement is None else enhancement):
        latent = decoder.decode_latent(base_bitstream, enhancement_bitstream)
    streams.write_picture(output, decoder.decode_image(latent), force=force)
    h, w = latent.image_hw
    streams.say_of(
        output, f"{output}: {w} x {h} pixels from level {latent.level}, quality {latent.quality:g}"
    )


def inspect_container(
    container: options.Container, models: options.Models = None, as_json: options.AsJson = False
) -> None:
    """Show what a container holds. All its checksums are verified."""
    from slimcodec.container import parse_container

    bitstream = streams.read_bytes(container)
    with about(container):
        parsed = parse_container(bitstream)
    h, w = parsed.image_hw
    bpp = 8 * len(bitstream) / (h * w)
    model = _model_of(parsed.fingerprint, models)
    if as_json:
        streams.say_json(
            {
                "file": str(container),
                "version": parsed.version,
                "kind": "enhancement" if parsed.is_enhancement else "base",
                "streams": parsed.streams,
                "prior": parsed.prior,
                "fingerprint": parsed.fingerprint.hex(),
                "model": model,
                "level": parsed.level,
                "first_group": parsed.first_group,
                "quality": parsed.quality,
                "image_height": h,
                "image_width": w,
                "bytes": len(bitstream),
                "bpp": bpp,
                "sections": [
                    {"group": s.group, "symbols": s.symbol_count, "bytes": len(s.data)}
                    for s in parsed.sections
                ],
            }
        )
        return
    kind = f"enhancement from group {parsed.first_group}" if parsed.is_enhancement else "base"
    say(f"{container}: {len(bitstream):,} bytes, container version {parsed.version}, {kind}")
    say(f"  model    {parsed.fingerprint.hex()} ({model or 'not installed here'})")
    say(f"  level    {parsed.level}, quality {parsed.quality:g}")
    say(f"  coding   {parsed.streams} streams, {parsed.prior} prior")
    say(f"  picture  {w} x {h} pixels, {bpp:.4f} bits per pixel")
    for section in parsed.sections:
        say(
            f"  group {section.group}  {len(section.data):>9,} bytes  "
            f"{section.symbol_count:>9,} symbols"
        )


def _model_of(fingerprint: bytes, models: Path | None) -> str | None:
    """`name/version` of the installed codec with this fingerprint, if there is one."""
    from slimcodec.errors import ModelError
    from slimcodec.model.find import find_codec_of

    try:
        directory = find_codec_of(fingerprint, models)
    except ModelError:
        return None
    return f"{directory.parent.name}/{directory.name}"


def _write(path: Path, encoded: EncodedImage, *, force: bool) -> None:
    """Write a container and say one line about it."""
    streams.write_bytes(path, encoded.bitstream, force=force)
    h, w = encoded.image_hw
    streams.say_of(
        path,
        f"{path}: {len(encoded.bitstream):,} bytes, {encoded.bpp:.4f} bits per pixel, "
        f"level {encoded.level}, quality {encoded.quality:g}, {w} x {h} pixels, "
        f"{encoded.encode_seconds:.3f} s",
    )
