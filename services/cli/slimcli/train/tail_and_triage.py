"""`slimwire train triage` and `train tail`: what the cloud learns for a codec that is there.

Nothing at the edge changes, and every container stays good. Needs the extra `train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import needs_extra
from slimcli.models import open_codec, open_detector
from slimcli.options import Models
from slimcli.streams import say
from slimcli.train.options import (
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
    To,
    TorchThreads,
    best_device,
    load_divided,
    only_given,
)

# Of pictures in memory, pixels: both stages look at whole pictures of about this size.
WHOLE_PICTURE_EDGE = 512

Codec = Annotated[
    str | None,
    typer.Option("--model", help="The codec, by name or name/version; else the recipe's."),
]


def train_triage(
    images: Images,
    to: To,
    recipe: Recipe = "triage",
    model: Codec = None,
    out: Out = Path("runs/triage"),
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Of interest by default; may be repeated; else the recipe's."),
    ] = None,
    models: Models = None,
    steps: Steps = None,
    seconds: Seconds = None,
    batch: Batch = None,
    learning_rate: LearningRate = None,
    max_edge: MaxEdge = WHOLE_PICTURE_EDGE,
    threads: TorchThreads = None,
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Train what says early which classes are there. It reads a codec's narrowest level.

    No labels are needed: the codec's detector is the teacher. When the schedule is done, the codec
    is written with the head as a new version; the fingerprint stays.
    """
    with needs_extra("train", "train triage"):
        from slimtrain.recipe.schema import TriageRecipe, load_recipe
        from slimtrain.triage.train import TriageRun
        from slimtrain.triage.train import train_triage as run_training

    wanted = load_recipe(recipe, TriageRecipe)
    codec = open_codec(model or wanted.model, models)
    detector = open_detector(codec, models)
    options = only_given(steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    schedule = wanted.schedule.given() | options | ({"labels": tuple(label)} if label else {})
    device = device or best_device()
    run = TriageRun(out=out, seconds=seconds, device=device, num_threads=threads, **schedule)
    training, validation = load_divided(images, max_edge)
    spec = run_training(run, codec, detector, training, validation, to)
    if spec is None:
        say(f"{out}: stopped before the end; the same command goes on")
    else:
        say(f"{to}: {codec.label} with triage after {run.steps} steps")


def train_tail(
    images: Images,
    to: To,
    recipe: Recipe = "tail",
    model: Codec = None,
    out: Out = Path("runs/tail"),
    models: Models = None,
    steps: Steps = None,
    seconds: Seconds = None,
    batch: Batch = None,
    image_size: Annotated[
        int | None, typer.Option(min=64, help="Side of a picture, pixels, a multiple of 32.")
    ] = None,
    learning_rate: LearningRate = None,
    tail_learning_rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="Peak, of the detector's tail; 0 leaves the tail as it is."),
    ] = None,
    max_edge: MaxEdge = WHOLE_PICTURE_EDGE,
    threads: TorchThreads = None,
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Tune a codec's cloud. What it makes of latents, as a new version of the codec.

    The encoder is frozen, the fingerprint stays. Labels are used where there are any.
    """
    with needs_extra("train", "train tail"):
        from slimtrain.recipe.schema import TailRecipe, load_recipe
        from slimtrain.tail.artifact import write_tail_artifact
        from slimtrain.tail.train import TailRun
        from slimtrain.tail.train import train_tail as run_training

    wanted = load_recipe(recipe, TailRecipe)
    codec = open_codec(model or wanted.model, models)
    detector = open_detector(codec, models).directory
    schedule = wanted.schedule.given() | only_given(
        steps=steps,
        batch=batch,
        image_size=image_size,
        learning_rate=learning_rate,
        tail_learning_rate=tail_learning_rate,
        seed=seed,
    )
    run = TailRun(
        out=out,
        codec=codec.directory,
        detector=detector,
        weights=wanted.loss,
        feature_transform=wanted.feature_transform,
        seconds=seconds,
        threads=threads,
        device=device or best_device(),
        **schedule,
    )
    training, validation = load_divided(images, max_edge)
    checkpoint = run_training(run, training, validation)
    command = command_line()
    folder = write_tail_artifact(
        checkpoint,
        codec.directory,
        detector,
        to,
        training={"command": command, "pictures": len(training)},
        figures={},
    )
    say(f"{folder}: {codec.label} with another cloud; `slimwire evaluate --profile` measures it")
