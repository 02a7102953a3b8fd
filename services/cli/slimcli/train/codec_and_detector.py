"""`slimwire train codec`, `detector`, `triage` and `tail`. Needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import needs_extra
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train.options import (
    TRAINING_MAX_EDGE,
    Batch,
    Device,
    Images,
    LearningRate,
    MaxEdge,
    Out,
    Recipe,
    Seconds,
    Seed,
    Steps,
    TorchThreads,
    best_device,
    load_divided,
    only_given,
)


def train_codec(
    images: Images,
    recipe: Recipe = "slim-n",
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
    out: Out = Path("runs/codec"),
    models: Models = None,
    steps: Steps = None,
    seconds: Seconds = None,
    batch: Batch = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Side of a crop, pixels.")] = None,
    learning_rate: LearningRate = None,
    max_edge: MaxEdge = TRAINING_MAX_EDGE,
    threads: TorchThreads = None,
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Train a codec against a detector, from pictures alone. Goes on where it stopped.

    The recipe says what; options given here go before its schedule. One picture in ten, chosen by
    its name, is kept for validation. Several processes:
    torchrun --nproc-per-node N -m slimcli train codec ...
    """
    with needs_extra("train", "train codec"):
        from slimnets.darknet.cfg import parse_cfg
        from slimnets.darknet.detector import Darknet
        from slimtrain.codec.train import train_codec as run_training
        from slimtrain.detector.artifact import load_detector_model
        from slimtrain.recipe.run import build_codec_run
        from slimtrain.recipe.schema import CodecRecipe, load_recipe

    from slimcodec.model.artifact import load_detector_artifact
    from slimcodec.model.find import find_model

    wanted = load_recipe(recipe, CodecRecipe)
    folder = find_model("detector", detector or wanted.detector, models)
    artifact = load_detector_artifact(folder)
    graph = Darknet(parse_cfg(artifact.file("detector.cfg").read_text(encoding="utf-8")))
    run = build_codec_run(
        wanted,
        graph,
        artifact.manifest.split.layer,
        out,
        models,
        start_from,
        steps=steps,
        seconds=seconds,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        threads=threads,
        seed=seed,
        device=device or best_device(),
    )
    training, validation = load_divided(images, max_edge)
    detector_model = load_detector_model(folder)
    checkpoint = run_training(run, detector_model, training.images, validation.images)
    say(f"{checkpoint}: `slimwire export` makes a model of it")


def train_detector(
    images: Images,
    recipe: Recipe = "yolov3-slim",
    cfg: Annotated[
        Path | None,
        typer.Option(metavar="F.cfg", exists=True, help="Darknet's graph; else the recipe's."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="F.weights", exists=True, help="To begin from; not given: at random."),
    ] = None,
    out: Out = Path("runs/detector"),
    models: Models = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Of the whole schedule, over all its starts.")
    ] = None,
    widen: Annotated[
        int | None, typer.Option(min=1, help="Multiply the channels of the cfg.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=64, help="Pixels a side in training.")
    ] = None,
    batch: Batch = None,
    learning_rate: LearningRate = None,
    max_edge: MaxEdge = TRAINING_MAX_EDGE,
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Train a Darknet detector on labelled pictures. Goes on where it stopped."""
    with needs_extra("train", "train detector"):
        from slimtrain.detector.train import DetectorRun
        from slimtrain.detector.train import train_detector as run_training
        from slimtrain.recipe.schema import DetectorRecipe, load_recipe

    from slimcodec.model.find import find_model

    wanted = load_recipe(recipe, DetectorRecipe)
    graph = cfg or find_model("detector", wanted.graph, models) / "detector.cfg"
    schedule = wanted.schedule.given() | only_given(
        seconds=seconds,
        widen=widen,
        image_size=image_size,
        batch_size=batch,
        learning_rate=learning_rate,
        seed=seed,
    )
    run = DetectorRun(
        out=out,
        init_cfg=graph,
        init_weights=weights,
        device=device or best_device(),
        **schedule,
    )
    training, validation = load_divided(images, max_edge)
    trained = run_training(run, training, validation)
    say(f"{out / 'validation.csv'}: what it finds in the validation pictures")
    say(f"{trained}: `slimwire detector import` makes a model of it and {out / 'detector.cfg'}")
