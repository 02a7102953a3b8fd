"""`python -m studies.controller record`: a video as numbers for the simulator."""

from __future__ import annotations

import enum
import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.models import open_codec, open_runtime
from slimcli.options import Force, Model, Models, Output, Precision, Threads
from slimcli.streams import refuse_existing, say
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slimcodec.encode import Encoder
    from slimcodec.symbols import FrameSymbols

    Image = NDArray[np.uint8]
    Encode = Callable[[Image, int, float], int]
    EncodeAgainst = Callable[[Image, int, float, FrameSymbols | None], tuple[int, FrameSymbols]]


class RecordedCodec(enum.Enum):
    """Whose bytes are recorded."""

    MODEL = "model"
    JPEG = "jpeg"
    WEBP = "webp"


def register(app: typer.Typer) -> None:
    app.command()(record)


def record(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.", exists=True)],
    output: Output,
    codec: Annotated[
        RecordedCodec, typer.Option(help="model: that of --model, at all its points.")
    ] = RecordedCodec.MODEL,
    frames: Annotated[int, typer.Option(min=1, help="At most so many.")] = 300,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: Precision = "auto",
    force: Force = False,
) -> None:
    """Encode a video's frames at every point and keep their bytes, for `simulate`.

    No picture is kept, only bytes of containers. A model with the context prior is recorded with
    references, too.
    """
    from slimcodec.encode import Encoder
    from slimedge.capture.source import open_source
    from studies.controller.simulation.content import (
        record_content,
        record_references,
        write_content,
    )

    refuse_existing(output, force=force)
    encoder = None
    if codec is RecordedCodec.MODEL:
        artifact = open_codec(model, models)
        points = [
            (level, float(quality))
            for level in range(len(artifact.manifest.levels))
            for quality in range(artifact.manifest.qualities)
        ]
        encoder = Encoder(artifact, open_runtime(threads, precision))
        encode = _model(encoder)
    else:
        points, encode = _classic(codec.value)
    pictures = (picture.image for picture in open_source(str(video), 1.0).pictures())
    images = list(islice(pictures, frames))
    content = record_content(images, points, encode)
    if encoder is not None and artifact.context is not None:
        content = record_references(content, images, _references(encoder))
    refuse_existing(output, force=force)
    write_content(content, output)
    height, width = content.image_hw
    say(f"{output}: {len(content.sizes)} frames of {width} x {height} at {len(points)} points")


def _model(encoder: Encoder) -> Encode:
    return lambda image, level, quality: len(encoder.encode(image, level, quality).bitstream)


def _references(encoder: Encoder) -> EncodeAgainst:
    def encode(
        image: Image, level: int, quality: float, reference: FrameSymbols | None
    ) -> tuple[int, FrameSymbols]:
        encoded = encoder.encode(image, level, quality, reference)
        assert encoded.symbols is not None, "only of the context prior"
        return len(encoded.bitstream), encoded.symbols

    return encode


def _classic(name: str) -> tuple[list[tuple[int, float]], Encode]:
    """The points of a codec that everybody has; its settings are those of `slimwire evaluate`."""
    from PIL import Image as pillow

    from studies.controller.comparison.classic_codec import CLASSIC_CODECS

    options: dict[str, object] = (
        {"optimize": True, "subsampling": "4:2:0"} if name == "jpeg" else {"method": 6}
    )

    def encode(image: Image, level: int, quality: float) -> int:
        stream = io.BytesIO()
        pillow.fromarray(image).save(stream, name.upper(), quality=int(quality), **options)
        return len(stream.getvalue())

    return [(0, float(quality)) for quality, _, _ in CLASSIC_CODECS[name].rows], encode
