"""`slimwire evaluate`: bytes against accuracy, ours and others'. Needs the extra `train`."""

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
from slimcli.train.options import Images, Validation
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


def evaluate(
    images: Images,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="For the report, and what is kept for the next."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            exists=True,
            help="YOLO text of all pictures; not given: what lies beside them, or else what the "
            "detector sees in the uncompressed pictures.",
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
        typer.Option("--baseline", help="Only this; may be repeated. Not given: all."),
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
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
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
    """Measure bytes against accuracy. Ours, JPEG, WebP, AVIF and HEVC on the same pictures.

    `--rival` puts learned codecs of others beside them.
    """
    with needs_extra("train", "evaluate"):
        from slimtrain.data.split import is_validation
        from slimtrain.evaluation.baseline import BASELINES
        from slimtrain.evaluation.evaluate import evaluate as measure
        from slimtrain.evaluation.pictures import choose_pictures
        from slimtrain.evaluation.rival import open_rivals
        from slimtrain.evaluation.rows import write_evaluated_profile
        from slimtrain.reporting.report import format_headline, write_report
        from slimtrain.reporting.sheets import choose_shown

    codecs = [_open(name, models) for name in model or [DEFAULT_MODEL]]
    pictures = choose_pictures(images, labels, is_validation if validation else None, limit)
    choose_shown(pictures, show or ())  # a wrong name is told before the work, not after
    rivals = open_rivals(rival or ())
    names = list(BASELINES) if baseline is None else [name.value for name in baseline]
    evaluation = measure(
        codecs,
        _reference(codecs, detector, models),
        pictures,
        out,
        levels=level,
        qualities=quality,
        baselines=[*(BASELINES[name] for name in names), *rivals],
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
