"""`slimwire export` and `slimwire detector import`: trained weights -> a model that serves.

Needs the extra `train`; what it writes needs only the base package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import needs_extra
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train.options import To

# Pictures on which the entropy tables are counted: symbols number in the millions by then.
TABULATED_PICTURES = 200
TABULATED_MAX_EDGE = 640
LICENCE_UNKNOWN = "not stated; ask whoever trained the weights"


Licence = Annotated[str, typer.Option("--licence", help="Who may use the weights for what.")]


def export_codec(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="checkpoint.pt of `train codec`.")
    ],
    images: Annotated[
        list[Path],
        typer.Option(
            "--images", metavar="DIR", exists=True, help="Of the training, for the tables."
        ),
    ],
    to: To,
    detector: Annotated[
        str, typer.Option("--detector", help="That it was trained against.")
    ] = "yolov3-slim",
    licence: Licence = LICENCE_UNKNOWN,
    models: Models = None,
) -> None:
    """Make a model of a trained codec. Graphs, entropy tables, manifest."""
    with needs_extra("train", "export"):
        from slimtrain.codec.artifact import codec_from_checkpoint, write_codec_artifact
        from slimtrain.data.pictures import divide, index_pictures, load_pictures

    from slimcodec.model.artifact import load_detector_artifact
    from slimcodec.model.find import find_model
    from slimcodec.model.manifest import ModelReference

    teacher = load_detector_artifact(find_model("detector", detector, models)).manifest
    trained = codec_from_checkpoint(checkpoint)
    entries, _ = divide(index_pictures(images))
    every = max(1, len(entries) // TABULATED_PICTURES)  # spread over all folders
    pictures = load_pictures(entries[::every][:TABULATED_PICTURES], TABULATED_MAX_EDGE).images
    folder = write_codec_artifact(
        trained.codec,
        pictures,
        to,
        ModelReference(name=teacher.name, version=teacher.version),
        training={"steps": trained.steps, "tables_pictures": len(pictures)},
        figures={},
        licence=licence,
        tasks=trained.tasks,
    )
    say(f"{folder}: codec after {trained.steps} steps, tables from {len(pictures)} pictures")


def import_detector(
    cfg: Annotated[Path, typer.Option(metavar="F.cfg", exists=True, help="Darknet's graph.")],
    weights: Annotated[Path, typer.Option(metavar="F.weights", exists=True, help="Its weights.")],
    names: Annotated[Path, typer.Option(metavar="F.names", exists=True, help="A class a line.")],
    to: To,
    split: Annotated[
        int | None,
        typer.Option(
            min=0, help="Layer after which to cut; not given: the first shortcut at stride 8."
        ),
    ] = None,
    licence: Licence = LICENCE_UNKNOWN,
) -> None:
    """Make a model of Darknet files. The official YOLOv3, or a detector of your own."""
    with needs_extra("train", "detector import"):
        from slimtrain.detector.artifact import import_detector as run_import

    folder = run_import(cfg, weights, names, to, split, licence)
    say(f"{folder}: `slimwire train codec --detector {to.parent.name}` trains a codec for it")
