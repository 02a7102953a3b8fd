"""`slimwire calibrate`: what a codec costs on this device, into its profile.json."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import BadUsageError
from slimcli.models import open_codec, open_runtime
from slimcli.options import DEFAULT_MODEL, Model, Models, Precision, PrecisionOption, Threads
from slimcli.output import say

DEFAULT_SIZES = ("640x360", "1280x720", "1920x1080")  # width x height, pixels
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def register(app: typer.Typer) -> None:
    app.command()(calibrate)


def calibrate(
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Pictures like the camera's, there or in DIR/images; not given: seconds only.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", metavar="WxH", help="Picture size to time, pixels; may be repeated."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only so many pictures.")] = 50,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
) -> None:
    """Time every level on this device, measure bytes on pictures, and keep both for the controller.

    Only what is measured is replaced: accuracy and PSNR stay as `slimwire evaluate` left them.
    """
    from slimcodec.image import load_image
    from slimcodec.manifest import Calibration
    from slimtrain.calibrate import (
        measure_bpp,
        merge_profile,
        processor_name,
        time_encoding,
        write_profile,
    )

    codec = open_codec(model, models)
    sizes = [_parse_size(text) for text in size or DEFAULT_SIZES]
    pictures = [load_image(path) for path in _find(images)[:limit]] if images else []
    runtime = open_runtime(threads, precision)
    timings = time_encoding(codec, runtime, sizes, pictures[0] if pictures else None)
    measured = Calibration(
        device=processor_name(),
        timings=timings,
        pictures=len(pictures),
        command=command_line(),
    )
    bpp = measure_bpp(codec, runtime, pictures) if pictures else {}
    path = write_profile(codec.directory, merge_profile(codec.profile, bpp, measured))

    say(f"{codec.label} on {measured.device}: seconds to encode a picture, median")
    for timing in timings:
        where = f"level {timing.level}, {timing.width} x {timing.height}"
        say(f"  {where:<24} {timing.encode_seconds:.4f}")
    for (level, quality), bits in bpp.items():
        say(f"  level {level}, quality {quality}: {bits:.4f} bits per pixel")
    say(f"{path}: written")


def _find(folder: Path) -> list[Path]:
    from slimtrain.pictures import PICTURE_SUFFIXES

    images = folder / "images" if (folder / "images").is_dir() else folder
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise BadUsageError(f"{images}: holds no pictures; give a folder that does")
    return found


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadUsageError(f"--size {text}: expected width x height in pixels, such as 1280x720")
    width, height = map(int, match.groups())
    return height, width
