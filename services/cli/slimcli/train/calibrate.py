"""`slimwire calibrate`: what a codec costs and is worth on this device, into its profile.json; and
`slimwire detector calibrate`: what a model's scores mean, as a new version of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli import options
from slimcli.command_line import command_line
from slimcli.exits import BadUsageError
from slimcli.models import open_codec, open_detector, open_model, open_runtime
from slimcli.streams import say
from slimcli.train.options import IMAGES, Images, To, Validation
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slimcodec.graph.runtime import Runtime
    from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
    from slimcodec.model.manifest import Profile
    from slimtrain.calibration.measure import PicturePoints, Utilities
    from slimtrain.calibration.scores import ClassFigures
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
    model: options.Model = DEFAULT_MODEL,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
) -> None:
    """Measure a codec on this device. Seconds of every level; bytes, detections on pictures.

    It goes into the model's profile, for the controller. Only what is measured is replaced: the
    figures that `slimwire evaluate` left stay as they are. Without pictures it is seconds alone.
    """
    from slimcodec.image import load_image
    from slimcodec.model.manifest import this_device
    from slimtrain.calibration.calibrate import PROFILE
    from slimtrain.calibration.calibrate import calibrate as run_calibration
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
    if precision != "auto":
        # bfloat16 or not decides the seconds; the edge runs as "auto" does
        device = device._replace(processor=f"{device.processor} ({precision})")
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


def calibrate_scores(
    images: Images,
    to: To,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="A codec with its own tail or features, or a detector; name or name/version.",
        ),
    ] = DEFAULT_MODEL,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
) -> None:
    """Find out what a model's scores mean. Pictures in which every object has its label say it.

    A new version of the model tells for each box how many of such boxes are right, and shows of
    each class those from the score on where seven in ten are. What the pictures lack, or have too
    little of, is not shown unless asked for. Pictures go through a codec at all its levels.
    """
    import numpy as np

    from slimcodec.image import load_image
    from slimtrain.artifact_folder import check_new_artifact
    from slimtrain.calibration.scores import cross_validate, fit_scores, look, write_scores
    from slimtrain.data.pictures import Labelling, PictureError, index_pictures
    from slimtrain.data.split import is_reported
    from slimtrain.figures.mean_average_precision import labels_of, match_boxes

    check_new_artifact(to)
    codec, detector = open_model(model, models)
    by_people = {folder.name: Labelling(proposals=None) for folder in images}
    entries = index_pictures(images, by_people)
    labels = []

    def read() -> Iterator[NDArray[np.uint8]]:
        for entry in entries:
            if entry.boxes is None:
                raise PictureError(f"{entry.path}: has no labels/ beside images/")
            picture = load_image(entry.path)
            labels.append(labels_of(entry.boxes, (picture.shape[0], picture.shape[1])))
            yield picture

    seen = look(codec, detector, open_runtime(threads, precision), read())
    words = f"{len(entries)} pictures"
    with typer.progressbar(seen, length=len(entries), label=words, file=sys.stderr) as progress:
        matches = match_boxes(list(progress), labels)
    scores = fit_scores(matches, len(detector.names))
    halves = np.array([is_reported(entry.path.name) for entry in entries])
    figures = {
        detector.names[class_id]: of_class
        for class_id, of_class in cross_validate(matches, halves, len(detector.names)).items()
    }
    write_scores(
        codec or detector, scores, figures, to, pictures=len(entries), command=command_line()
    )
    say("each half of the pictures with what was fitted to the other: boxes shown, right; labels")
    for label, score in zip(detector.names, scores, strict=True):
        if (of_class := figures.get(label)) is not None:
            least = "not shown" if score.threshold is None else f"from {score.threshold:.2f}"
            counts = f"{of_class.shown:5} {of_class.right:5} {of_class.labels:5}"
            say(f"  {label:<16} {least:<10} {counts}{_parts(of_class)}")
    say(f"{to}: {(codec or detector).label} with scores")


def _parts(figures: ClassFigures) -> str:
    if figures.precision is None or figures.recall is None:
        return ""
    return f"  precision {figures.precision:.2f}, recall {figures.recall:.2f}"


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
