"""`slimwire evaluate`: bytes against accuracy, ours and others'. Needs the extra `train`.

Of pictures, or of videos with `--video`; options that only one of the two knows say so.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import BadUsageError, needs_extra
from slimcli.models import open_codec, open_detector
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train.options import IMAGES, Validation
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.model.artifact import DetectorArtifact
    from slimtrain.evaluation.evaluate import CodecUnderTest


class BaselineName(enum.Enum):
    """Codecs that others would pick instead."""

    JPEG = "jpeg"
    WEBP = "webp"
    AVIF = "avif"
    HEVC = "hevc"
    X264_MEDIUM = "x264-medium"
    X264_VERYFAST = "x264-veryfast"
    X265_MEDIUM = "x265-medium"
    X265_VERYFAST = "x265-veryfast"


def evaluate(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="For the report, and what is kept for the next."),
    ],
    images: Annotated[list[Path] | None, IMAGES] = None,
    video: Annotated[
        list[Path] | None,
        typer.Option(
            "--video",
            metavar="FILE",
            exists=True,
            help="Of a fixed camera, instead of pictures; may be repeated.",
        ),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            exists=True,
            help="YOLO text of all pictures; not given: what lies beside them, or else what the "
            "detector sees in the uncompressed pictures. Of a video: MOT text, YOLO text of its "
            "frames, or JSON lines, named as the video is; may be repeated.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            envvar="SLIMWIRE_MODEL",
            help=f"Codec by name, or as name/version; may be repeated.  [default: {DEFAULT_MODEL}]",
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            "--detector",
            metavar="NAME",
            help="Looks at decoded pictures; not given: that of the first codec.",
        ),
    ] = None,
    level: Annotated[
        list[int] | None, typer.Option("--level", min=0, help="Only this; may be repeated.")
    ] = None,
    quality: Annotated[
        list[float] | None, typer.Option("--quality", min=0, help="Only this; may be repeated.")
    ] = None,
    baseline: Annotated[
        list[BaselineName] | None,
        typer.Option(
            "--baseline",
            help="Only this; may be repeated. Not given: all; of videos not avif and hevc.",
        ),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            "--rival",
            metavar="compressai:MODEL[:QUALITY][=FILE]",
            help="A model of CompressAI beside ours: of a checkpoint FILE, else of its zoo, which "
            "needs a network; may be repeated.",
        ),
    ] = None,
    fps: Annotated[
        list[float] | None,
        typer.Option(
            "--fps", min=0.01, help="Of a video, frames a second; may be repeated.  [default: 1]"
        ),
    ] = None,
    key_interval: Annotated[
        list[float] | None,
        typer.Option(
            "--key-interval",
            metavar="SECONDS",
            min=0.1,
            help="Of a video, from key to key; may be repeated.  [default: 10, 60]",
        ),
    ] = None,
    loss: Annotated[
        float,
        typer.Option(
            "--loss", min=0, max=0.9, help="Of a video, part of the frames lost in further rows."
        ),
    ] = 0.1,
    noise: Annotated[
        list[float] | None,
        typer.Option(
            "--noise",
            metavar="SIGMA",
            min=0,
            help="Of a video, sensor noise to add, of 255; may be repeated.  [default: 0]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first pictures, or frames of a video.")
    ] = None,
    validation: Validation = False,
    show: Annotated[
        list[str] | None,
        typer.Option(
            "--show", metavar="FILE", help="A picture's name, for the sheets; may be repeated."
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also write each model's profile.json.")
    ] = False,
    models: Models = None,
) -> None:
    """Measure bytes against accuracy. Ours, JPEG, WebP, AVIF and HEVC on the same pictures; on
    videos of fixed cameras ours, x264, x265, JPEG and WebP.

    `--rival` puts learned codecs of others beside them, on pictures.
    """
    if bool(images) == bool(video):
        raise BadUsageError("evaluate needs --images or --video, one of the two")
    names = None if baseline is None else [name.value for name in baseline]
    if video:
        if rival or validation or show or profile:
            raise BadUsageError("--rival, --validation, --show and --profile are for pictures")
        with needs_extra("train", "evaluate"):
            from slimcli.train.evaluate_videos import evaluate_on_videos
            from slimtrain.evaluation.evaluate_videos import VideoPlan, choose_video_points

        codecs = [_open(name, models) for name in model or [DEFAULT_MODEL]]
        uncut, points = choose_video_points(
            codecs,
            _reference(codecs, detector, models),
            levels=level,
            qualities=quality,
            baselines=names,
            key_seconds=key_interval or [10.0, 60.0],
        )
        plan = VideoPlan(points, uncut, fps or [1.0], noise or [0.0], loss, limit)
        evaluate_on_videos(video, labels or [], plan, out)
        return
    with needs_extra("train", "evaluate"):
        from slimtrain.data.split import is_validation
        from slimtrain.evaluation.baseline import BASELINES
        from slimtrain.evaluation.evaluate import evaluate as measure
        from slimtrain.evaluation.pictures import choose_pictures
        from slimtrain.evaluation.rival import open_rivals
        from slimtrain.evaluation.rows import write_evaluated_profile
        from slimtrain.reporting.report import format_headline, write_report
        from slimtrain.reporting.sheets import choose_shown

    if fps or key_interval or noise:
        raise BadUsageError("--fps, --key-interval, --loss and --noise are for videos")
    if len(labels or ()) > 1:
        raise BadUsageError("--labels of pictures is one folder")
    if unfit := sorted(set(names or ()).difference(BASELINES)):
        raise BadUsageError(f"--baseline {unfit[0]} is for videos")
    codecs = [_open(name, models) for name in model or [DEFAULT_MODEL]]
    labelled = labels[0] if labels else None
    keep = is_validation if validation else None
    pictures = choose_pictures(images or (), labelled, keep, limit)
    choose_shown(pictures, show or ())  # a wrong name is told before the work, not after
    rivals = open_rivals(rival or ())
    evaluation = measure(
        codecs,
        _reference(codecs, detector, models),
        pictures,
        out,
        levels=level,
        qualities=quality,
        baselines=[*(BASELINES[name] for name in names or BASELINES), *rivals],
    )
    command = command_line()
    if profile:
        for codec in codecs:
            label, folder = codec.artifact.label, codec.artifact.directory
            write_evaluated_profile(evaluation.rows, label, folder, command)
    page = write_report(evaluation, out, command, show or ())
    say(format_headline(evaluation))
    say(f"\nThe report is {page}")


def _open(name: str, models: Path | None) -> CodecUnderTest:
    from slimtrain.evaluation.evaluate import CodecUnderTest

    codec = open_codec(name, models)
    detector = open_detector(codec, models) if codec.manifest.detector else None
    return CodecUnderTest(codec, detector)


def _reference(
    codecs: Sequence[CodecUnderTest], name: str | None, models: Path | None
) -> DetectorArtifact:
    """The detector behind every decoded picture."""
    from slimcodec.model.find import find_model
    from slimcodec.model.load import load_detector_artifact

    if name is not None:
        return load_detector_artifact(find_model("detector", name, models))
    for codec in codecs:
        if codec.detector is not None:
            return codec.detector
    raise BadUsageError("none of the models names a detector; say which with --detector")
