"""`slimwire train codec`, `detector`, `triage` and `tail`, and `recipes`: what can be trained.

Triage and tail are what the cloud learns for a codec that is there: nothing at the edge changes,
and every container stays good.
"""

from pathlib import Path
from typing import Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import BadUsageError, needs_extra
from slimcli.models import open_codec, open_detector, open_runtime
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train import options

WHOLE_PICTURE_EDGE = 512  # triage and tail look at whole pictures of about this size

Codec = Annotated[
    str | None,
    typer.Option("--model", help="The codec, by name or name/version; else the recipe's."),
]


def recipes() -> None:
    """List the recipes that came along."""
    with needs_extra("train", "recipes"):
        from slimtrain.recipe.find import describe_recipes

    for name, about in describe_recipes():
        say(f"{name:<24} {about}")


def train_codec(
    images: options.Images,
    recipe: options.Recipe = "slim",
    detector: Annotated[
        str | None,
        typer.Option("--detector", help="The teacher, by name or name/version; else the recipe's."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="MODEL",
            help="Begin with the weights of a codec (name, folder or checkpoint) where they fit.",
        ),
    ] = None,
    out: options.Out = Path("runs/codec"),
    models: Models = None,
    steps: options.Steps = None,
    seconds: options.Seconds = None,
    batch: options.Batch = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Side of a crop, pixels.")] = None,
    learning_rate: options.LearningRate = None,
    max_edge: options.MaxEdge = options.TRAINING_MAX_EDGE,
    threads: options.TorchThreads = None,
    device: options.Device = None,
    seed: options.Seed = None,
) -> None:
    """Train a codec against a detector, from pictures alone. Goes on where it stopped.

    The recipe says what; options given here go before its schedule. One picture in ten, chosen by
    its name, is kept for validation.
    """
    with needs_extra("train", "train codec"):
        from slimtrain.loop.processes import is_first_process
        from slimtrain.recipe.schema import CodecRecipe, load_recipe, train_codec_of

    checkpoint = train_codec_of(
        load_recipe(recipe, CodecRecipe),
        images,
        out,
        max_edge,
        detector=detector,
        models=models,
        start_from=start_from,
        say=say,
        steps=steps,
        seconds=seconds,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        threads=threads,
        device=device,
        seed=seed,
    )
    if is_first_process():
        say(f"{checkpoint}: `slimwire export` makes a model of it")


def train_detector(
    images: options.Images,
    recipe: options.Recipe = "detector",
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="F.cfg,F.weights",
            help="Darknet's files to begin with; not given: at random.",
        ),
    ] = None,
    cfg: Annotated[
        Path | None,
        typer.Option(
            metavar="F.cfg",
            exists=True,
            help="The graph; its first layers may be those of --from, the others begin anew. "
            "Not given: that of --from.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="F.cfg,F.weights",
            help="Says where classes are that nobody labelled; not given: that of --from.",
        ),
    ] = None,
    out: options.Out = Path("runs/detector"),
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Of the whole schedule, over all its starts.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=64, help="Pixels a side in training.")
    ] = None,
    batch: options.Batch = None,
    learning_rate: options.LearningRate = None,
    max_edge: options.MaxEdge = options.TRAINING_MAX_EDGE,
    threads: options.TorchThreads = None,
    device: options.Device = None,
    seed: options.Seed = None,
) -> None:
    """Train a Darknet detector on labelled pictures. Goes on where it stopped."""
    with needs_extra("train", "train detector"):
        from slimtrain.data.pictures import load_divided
        from slimtrain.detector.artifact import DarknetFiles
        from slimtrain.detector.train import DetectorRun
        from slimtrain.detector.train import train_detector as run_training
        from slimtrain.loop.processes import is_first_process
        from slimtrain.recipe.schema import DetectorRecipe, load_recipe, settings

    wanted = load_recipe(recipe, DetectorRecipe)
    begin = None if start is None else DarknetFiles.named(start)
    graph = cfg or (begin.cfg if begin else None)
    if graph is None:
        raise BadUsageError("no detector to train: give --cfg, --from or both")
    run = DetectorRun(
        out=out,
        cfg=graph,
        start=begin,
        teacher=None if teacher is None else DarknetFiles.named(teacher),
        labellings=wanted.folders,
        augmentation=wanted.augmentation,
        threads=threads,
        device=device,
        **settings(
            wanted.schedule,
            seconds=seconds,
            image_size=image_size,
            batch_size=batch,
            learning_rate=learning_rate,
            seed=seed,
        ),
    )
    training, validation = load_divided(images, max_edge, say, wanted.folders)
    trained = run_training(run, training, validation)
    if not is_first_process():
        return
    say(f"{out / 'validation.csv'}: what it finds in the validation pictures")
    say(f"{trained}: `slimwire detector import` makes a model of it and {out / 'detector.cfg'}")


def train_triage(
    images: options.Images,
    to: options.To,
    recipe: options.Recipe = "triage",
    model: Codec = None,
    out: options.Out = Path("runs/triage"),
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Of interest by default; may be repeated; else the recipe's."),
    ] = None,
    models: Models = None,
    steps: options.Steps = None,
    seconds: options.Seconds = None,
    batch: options.Batch = None,
    learning_rate: options.LearningRate = None,
    max_edge: options.MaxEdge = WHOLE_PICTURE_EDGE,
    threads: options.TorchThreads = None,
    device: options.Device = None,
    seed: options.Seed = None,
) -> None:
    """Train what says early which classes are there. It reads a codec's narrowest level.

    No labels are needed: the codec's detector is the teacher. When the schedule is done, the codec
    is written with the head as a new version; the fingerprint stays.
    """
    with needs_extra("train", "train triage"):
        from slimtrain.data.pictures import load_divided
        from slimtrain.loop.processes import is_first_process
        from slimtrain.recipe.schema import TriageRecipe, load_recipe, settings
        from slimtrain.triage.train import TriageRun
        from slimtrain.triage.train import train_triage as run_training

    wanted = load_recipe(recipe, TriageRecipe)
    codec = open_codec(model or wanted.model, models)
    detector = open_detector(codec, models)
    run = TriageRun(
        out=out,
        seconds=seconds,
        threads=threads,
        device=device,
        **settings(
            wanted.schedule,
            labels=tuple(label) if label else None,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
        ),
    )
    training, validation = load_divided(images, max_edge, say)
    spec = run_training(run, codec, detector, training, validation, to)
    if not is_first_process():
        return
    if spec is None:
        say(f"{out}: stopped before the end; the same command goes on")
    else:
        say(f"{to}: {codec.label} with triage after {run.steps} steps")


def train_tail(
    images: options.Images,
    to: options.To,
    recipe: options.Recipe = "tail",
    model: Codec = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Another than the codec's, by name or name/version; its feature transform must "
            "begin anew (recipe stem)."
        ),
    ] = None,
    out: options.Out = Path("runs/tail"),
    models: Models = None,
    steps: options.Steps = None,
    seconds: options.Seconds = None,
    batch: options.Batch = None,
    image_size: Annotated[
        int | None, typer.Option(min=64, help="Side of a picture, pixels, a multiple of 32.")
    ] = None,
    learning_rate: options.LearningRate = None,
    tail_learning_rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="Peak, of the detector's tail; 0 leaves the tail as it is."),
    ] = None,
    max_edge: options.MaxEdge = WHOLE_PICTURE_EDGE,
    threads: options.TorchThreads = None,
    device: options.Device = None,
    seed: options.Seed = None,
) -> None:
    """Tune a codec's cloud. What it makes of latents, as a new version of the codec.

    The encoder is frozen, the fingerprint stays. Labels are used where there are any.
    """
    with needs_extra("train", "train tail"):
        from slimcodec.model.find import find_model
        from slimtrain.data.pictures import load_divided
        from slimtrain.loop.processes import is_first_process
        from slimtrain.recipe.schema import TailRecipe, load_recipe, settings
        from slimtrain.tail.artifact import write_tail_artifact
        from slimtrain.tail.train import TailRun
        from slimtrain.tail.train import train_tail as run_training

    wanted = load_recipe(recipe, TailRecipe)
    codec = open_codec(model or wanted.model, models)
    teacher = find_model("detector", detector, models) if detector else None
    teacher = teacher or open_detector(codec, models).directory
    run = TailRun(
        out=out,
        codec=codec.directory,
        detector=teacher,
        weights=wanted.loss,
        feature_transform=wanted.feature_transform,
        feature_width=wanted.feature_width,
        seconds=seconds,
        threads=threads,
        device=device,
        **settings(
            wanted.schedule,
            steps=steps,
            batch=batch,
            image_size=image_size,
            learning_rate=learning_rate,
            tail_learning_rate=tail_learning_rate,
            seed=seed,
        ),
    )
    training, validation = load_divided(images, max_edge, say)
    checkpoint = run_training(run, training, validation)
    if not is_first_process():
        return
    folder = write_tail_artifact(
        checkpoint,
        codec.directory,
        teacher,
        to,
        training={"command": command_line(), "pictures": len(training)},
    )
    say(f"{folder}: {codec.label} with another cloud; `slimwire evaluate --profile` measures it")


def train_preview(
    images: options.Images,
    to: options.To,
    model: Codec = None,
    models: Models = None,
    max_edge: options.MaxEdge = WHOLE_PICTURE_EDGE,
    threads: options.TorchThreads = None,
) -> None:
    """Fit a codec's previews. Lists show them of frames that nobody decodes.

    It writes a new version of the codec in a minute or two; nothing else of it changes, and the
    fingerprint stays.
    """
    with needs_extra("train", "train preview"):
        from slimtrain.data.pictures import load_divided
        from slimtrain.preview import fit_preview, write_preview

    codec = open_codec(model or "slim", models)
    training, _ = load_divided(images, max_edge, say)
    fitted = fit_preview(codec, (picture.image for picture in training), open_runtime(threads))
    write_preview(codec, fitted, to, {"command": command_line(), "pictures": len(training)})
    say(f"{to}: {codec.label} with previews")
