"""`slimwire calibrate`: what a codec costs and is worth on this device, into its profile.json."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import BadUsageError
from slimcli.models import open_codec, open_detector, open_runtime
from slimcli.options import Model, Models, Precision, PrecisionOption, Threads
from slimcli.streams import say
from slimcli.train.options import IMAGES, Validation
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.graph.runtime import Runtime
    from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
    from slimcodec.model.manifest import Profile
    from slimtrain.calibration.measure import PicturePoints, Utilities
    from slimtrain.data.pictures import PictureEntry

DEFAULT_SIZES = ("640x360", "1280x720", "1920x1080")  # width x height, pixels
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def calibrate(
    images: Annotated[list[Path] | None, IMAGES] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", metavar="WxH", help="Picture size to time, pixels; may be repeated."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Only so many pictures, spread over all of them.")
    ] = 50,
    validation: Validation = False,
    utility: Annotated[
        bool,
        typer.Option(help="Also what each point is worth to the model's detector."),
    ] = True,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
) -> None:
    """Measure a codec on this device. Seconds of every level; bytes, detections on pictures.

    It goes into the model's profile, for the controller. Only what is measured is replaced: the
    figures that `slimwire evaluate` left stay as they are. Without pictures it is seconds alone.
    """
    from slimcodec.image import load_image
    from slimcodec.model.manifest import this_device
    from slimtrain.calibration.calibrate import calibrate as run_calibration
    from slimtrain.calibration.profile import PROFILE
    from slimtrain.data.split import is_validation
    from slimtrain.evaluation.pictures import choose_pictures
    from slimtrain.figures.mean_average_precision import labels_of

    codec = open_codec(model, models)
    with_detector = utility and bool(images) and codec.manifest.detector is not None
    detector = _open_detector(codec, models) if with_detector else None
    sizes = [_parse_size(text) for text in size or DEFAULT_SIZES]
    chosen = (
        choose_pictures(images, None, is_validation if validation else None, limit, spread=True)
        if images
        else []
    )
    runtime = open_runtime(threads, precision)
    measured = _measure(codec, detector, runtime, chosen)
    labels = [
        labels_of(picture.boxes, points.image_hw)
        for picture, points in zip(chosen, measured, strict=True)
        if picture.boxes is not None
    ]
    device = this_device(threads)
    if precision is not Precision.AUTO:
        # bfloat16 or not decides the seconds; the edge runs as "auto" does
        device = device._replace(processor=f"{device.processor} ({precision.value})")
    profile, utilities = run_calibration(
        codec,
        runtime,
        sizes,
        device,
        command_line(),
        like=load_image(chosen[0].path) if chosen else None,
        measured=measured,
        labels=labels or None,
    )
    _report(codec.label, profile, utilities, bool(measured))
    if with_detector and utilities is None:
        say("the detector finds nothing that is there in these pictures: no utility measured")
    say(f"{codec.directory / PROFILE}: written")


def _open_detector(codec: CodecArtifact, models: Path | None) -> DetectorArtifact:
    from slimcodec.errors import ModelError

    try:
        return open_detector(codec, models)
    except ModelError as exc:
        raise BadUsageError(f"{exc}; --no-utility measures seconds and bytes without it") from exc


def _measure(
    codec: CodecArtifact,
    detector: DetectorArtifact | None,
    runtime: Runtime,
    chosen: Sequence[PictureEntry],
) -> list[PicturePoints]:
    from slimcodec.image import load_image
    from slimtrain.calibration.measure import measure_pictures

    if not chosen:
        return []
    pictures = (load_image(picture.path) for picture in chosen)
    with typer.progressbar(
        measure_pictures(codec, detector, runtime, pictures),
        length=len(chosen),
        label=f"{len(chosen)} pictures at every level and quality",
        file=sys.stderr,
    ) as progress:
        return list(progress)


def _report(label: str, profile: Profile, utilities: Utilities | None, with_pictures: bool) -> None:
    calibration = profile.calibration
    assert calibration is not None
    say(
        f"{label} on {calibration.device}, {calibration.threads} threads: seconds to encode a "
        "picture, median"
    )
    for timing in calibration.timings:
        where = f"level {timing.level}, {timing.width} x {timing.height}"
        say(f"  {where:<24} {timing.encode_seconds:.4f}")
    if utilities is not None:
        truth = "labels" if utilities.source == "labels" else "what it finds in them uncompressed"
        say(
            f"utility is mAP50 against {truth}, over that of the uncompressed pictures "
            f"({utilities.map50_uncompressed:.3f}; {utilities.labels} boxes of "
            f"{utilities.classes} classes)"
        )
    if with_pictures:
        for point in profile.points:
            unknown = utilities is None or point.utility is None  # not one of the trained qualities
            worth = "" if unknown else f", utility {point.utility:.3f}"
            say(f"  level {point.level}, quality {point.quality:g}: {point.bpp:.4f} bpp{worth}")


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadUsageError(f"--size {text}: expected width x height in pixels, such as 1280x720")
    width, height = map(int, match.groups())
    return height, width
