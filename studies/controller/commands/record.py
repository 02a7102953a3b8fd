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

    Image = NDArray[np.uint8]
    Encode = Callable[[Image, int, float], int]


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

    No picture is kept, only bytes of containers.
    """
    from slimcodec.encode import Encoder
    from slimedge.capture.source import open_source
    from studies.controller.simulation.content import record_content, write_content

    refuse_existing(output, force=force)
    if codec is RecordedCodec.MODEL:
        artifact = open_codec(model, models)
        points = [
            (level, float(quality))
            for level in range(len(artifact.manifest.levels))
            for quality in range(artifact.manifest.qualities)
        ]
        encode = _model(Encoder(artifact, open_runtime(threads, precision)))
    else:
        points, encode = _classic(codec.value)
    pictures = (picture.image for picture in open_source(str(video), 1.0).pictures())
    content = record_content(islice(pictures, frames), points, encode)
    refuse_existing(output, force=force)
    write_content(content, output)
    height, width = content.image_hw
    say(f"{output}: {len(content.sizes)} frames of {width} x {height} at {len(points)} points")


def _model(encoder: Encoder) -> Encode:
    return lambda image, level, quality: len(encoder.encode(image, level, quality).bitstream)


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
