"""`slimwire export`, `detector import`, `make-model`: what was trained -> a model that serves.

They need the extra `train`; what they write needs only the base package.
"""

from pathlib import Path
from typing import Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import needs_extra
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train import options

LICENCE_UNKNOWN = "not stated; ask whoever trained the weights"


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="checkpoint.pt of `train codec`.")
    ],
    images: options.Images,
    to: options.To,
    detector: Annotated[
        str, typer.Option("--detector", help="That it was trained against.")
    ] = "yolo-fastest-street",
    licence: options.Licence = LICENCE_UNKNOWN,
    models: Models = None,
) -> None:
    """Make a model of a trained codec. Graphs, entropy tables, manifest."""
    with needs_extra("train", "export"):
        from slimtrain.codec.artifact import export_codec

    from slimcodec.model.find import find_model
    from slimcodec.model.load import load_detector_artifact
    from slimcodec.model.manifest import ModelReference

    teacher = load_detector_artifact(find_model("detector", detector, models)).manifest
    reference = ModelReference(name=teacher.name, version=teacher.version)
    trained = export_codec(checkpoint, images, to, reference, licence)
    say(f"{to}: codec after {trained.steps} steps")


def detector_import(
    cfg: options.Cfg,
    weights: options.Weights,
    names: options.Names,
    to: options.To,
    split: options.Split = None,
    licence: options.Licence = LICENCE_UNKNOWN,
) -> None:
    """Make a model of Darknet files. The official YOLOv3, or a detector of your own."""
    with needs_extra("train", "detector import"):
        from slimtrain.detector.artifact import import_detector

    folder = import_detector(cfg, weights, names, to, split, licence)
    say(f"{folder}: `slimwire train codec --detector {to.parent.name}` trains a codec for it")


def make_model(
    cfg: options.Cfg,
    weights: options.Weights,
    names: options.Names,
    images: options.Images,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Models directory that gets both.")
    ] = Path("models"),
    name: Annotated[
        str | None,
        typer.Option(help="Of the detector; the codec is slim-NAME. Not given: the cfg's name."),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="F.yaml", help="Of the codec: a file, or a name.")
    ] = "own-detector",
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of the training; not given: runs/slim-NAME.")
    ] = None,
    split: options.Split = None,
    steps: options.Steps = None,
    seconds: options.Seconds = None,
    batch: options.Batch = None,
    threads: options.TorchThreads = None,
    device: options.Device = None,
    seed: options.Seed = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Validation pictures to evaluate on, at most.")
    ] = 64,
    licence: options.Licence = LICENCE_UNKNOWN,
) -> None:
    """Make a model for a detector of your own. From its files and a folder of pictures.

    No labels are needed: the detector is the teacher, and agreement with it is what is measured.
    """
    with needs_extra("train", "make-model"):
        from slimtrain.make_model import ModelSettings
        from slimtrain.make_model import make_model as run_steps

    settings = ModelSettings(
        cfg=cfg,
        weights=weights,
        names=names,
        images=images,
        models=out,
        name=name,
        recipe=recipe,
        run=run,
        split=split,
        steps=steps,
        seconds=seconds,
        batch=batch,
        threads=threads,
        device=device,
        seed=seed,
        evaluated_pictures=limit,
        licence=licence,
        command=command_line(),
    )
    codec = run_steps(settings, say).parent.name
    say(f"To serve {codec} (on one machine, with a video of yours):")
    say(f"  slimwire demo --models {out} --model {codec} --source VIDEO")
    say(f"  slimwire cloud --models {out} --model {codec}")
    say(f"  slimwire edge --models {out} --model {codec} --source VIDEO --cloud HOST:PORT")
