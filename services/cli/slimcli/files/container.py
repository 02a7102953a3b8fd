"""`slimwire encode`, `upgrade`, `decode` and `inspect`: a picture into containers, and back.

Videos and streams go to `slimcli.files.encode_clip` and `slimcli.files.show_clip`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli import options, streams
from slimcli.exits import about
from slimcli.files.clip import open_clip
from slimcli.files.encode_clip import encode_clip
from slimcli.files.shots import is_video
from slimcli.files.show_clip import decode_clip, inspect_clip
from slimcli.models import open_codec, open_codec_of, open_runtime
from slimcli.streams import say
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.encode import EncodedImage
    from slimcodec.stream import StreamReader


def encode(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE|VIDEO|DIR",
            help="A picture, a video, or a directory of pictures; - is standard input, a picture.",
        ),
    ],
    output: options.Output,
    level: options.Level = 0,
    quality: options.Quality = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Of a video: take so many frames a second, not given: all. Of a directory: it has "
            "so many, not given: 1.",
        ),
    ] = None,
    key_interval: Annotated[
        float, typer.Option(min=0, help="Of a video: seconds from key to key.")
    ] = 60.0,
    key_level: Annotated[
        int | None, typer.Option(min=0, help="Of its keys; not given: --level.")
    ] = None,
    key_quality: Annotated[
        float | None, typer.Option(min=0, help="Of its keys; not given: --quality.")
    ] = None,
    refine_after: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Bring what stood still for so long to that of keys."
        ),
    ] = None,
    loss: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the containers that get lost.")
    ] = 0.0,
    model: options.Model = DEFAULT_MODEL,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Encode a picture into a container, a video into a stream.

    A stream can be read while it is written.
    """
    from slimcodec.encode import Encoder

    streams.refuse_existing(output, force=force)
    is_clip = source.is_dir() or is_video(str(source))
    pixels = None if is_clip else streams.load_picture(source)
    artifact = open_codec(model, models)
    encoder = Encoder(artifact, open_runtime(threads, precision))
    if quality is None:
        quality = artifact.manifest.qualities // 2

    if pixels is not None:
        _write(output, encoder.encode(pixels, level, quality), force=force)
        return
    from slimcodec.sequence import SequenceEncoder

    sequence = SequenceEncoder(
        encoder, level, quality, key_interval, key_level, key_quality, refine_after
    )
    encode_clip(source, output, sequence, artifact.fingerprint, fps, loss)


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
    from slimcodec.container import parse_container
    from slimcodec.encode import Encoder

    streams.refuse_two_standard(base, image)
    streams.refuse_existing(output, force=force)
    base_bitstream = streams.read_container(base)
    pixels = streams.load_picture(image)
    artifact = open_codec_of(parse_container(base_bitstream).fingerprint, model, models)
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
    """Decode a container to a picture, or a stream to a video.

    The suffix of the output names the format. A stream is decoded into a directory of pictures
    where it names no format of a video.
    """
    from slimcodec.container import parse_container
    from slimcodec.decode import Decoder

    def decoder_of(fingerprint: bytes) -> Decoder:
        artifact = open_codec_of(fingerprint, model, models)
        return Decoder(artifact, open_runtime(threads, precision))

    streams.refuse_two_standard(container, enhancement)
    with open_clip(container) as opened:
        if not isinstance(opened, bytes):
            decoder = decoder_of(opened.header.fingerprint)
            decode_clip(opened, container, output, decoder, force=force)
            return
    streams.refuse_existing(output, force=force)
    with about(container):
        fingerprint = parse_container(opened).fingerprint
    enhancement_bitstream = None if enhancement is None else streams.read_bytes(enhancement)
    decoder = decoder_of(fingerprint)

    with about(container if enhancement is None else enhancement):
        latent = decoder.decode_latent(opened, enhancement_bitstream)
    streams.write_picture(output, decoder.decode_image(latent), force=force)
    h, w = latent.image_hw
    streams.say_of(
        output, f"{output}: {w} x {h} pixels from level {latent.level}, quality {latent.quality:g}"
    )


def inspect_container(
    container: options.Container,
    base: Annotated[
        Path | None,
        typer.Option(metavar="BASE", help="Of an enhancement, which has no size of its own."),
    ] = None,
    models: options.Models = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a container or a stream holds. All its checksums are verified."""
    from slimcodec.container import parse_container

    streams.refuse_two_standard(container, base)
    with open_clip(container) as opened:
        if not isinstance(opened, bytes):
            _inspect_clip(opened, container, models, as_json=as_json)
            return
    bitstream = opened
    of_base = None if base is None else parse_container(streams.read_container(base))
    with about(container):
        if of_base is None:
            parsed = parse_container(bitstream)
        else:
            parsed = parse_container(bitstream, of_base.fingerprint, of_base.image_hw)
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
                    {"group": s.group, "symbols": s.symbol_count or None, "bytes": len(s.data)}
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
        symbols = f"  {section.symbol_count:>9,} symbols" if section.symbol_count else ""
        say(f"  group {section.group}  {len(section.data):>9,} bytes{symbols}")


def _inspect_clip(reader: StreamReader, path: Path, models: Path | None, *, as_json: bool) -> None:
    from slimcodec.decode import Decoder

    fingerprint, decoder = reader.header.fingerprint, None
    model = _model_of(fingerprint, models)
    if model is not None:
        decoder = Decoder(open_codec_of(fingerprint, None, models), open_runtime())
    inspect_clip(reader, path, decoder, model, as_json=as_json)


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
