"""`slimwire train codec` and `slimwire train detector`. Needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.extras import needs_extra
from slimcli.options import Models
from slimcli.output import say

# Of pictures in memory: enough for crops of 256 pixels, and thousands of them fit.
TRAINING_MAX_EDGE = 640
# WebP's quality of a detector's pack, 1-100: what augmentation does is far coarser.
PACK_QUALITY = 90

Images = Annotated[
    list[Path],
    typer.Option(
        "--images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Pictures, there or in DIR/images with DIR/labels beside it. May be repeated.",
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Of the run; one that is there goes on."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda; not given: cuda where there is one.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every random draw.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train a codec or a detector.", no_args_is_help=True)
    group.command("codec")(train_codec)
    group.command("detector")(train_detector)
    app.add_typer(group, name="train")


def train_codec(
    images: Images,
    detector: Annotated[
        str, typer.Option("--detector", help="The teacher, by name or name/version.")
    ] = "yolov3-slim",
    out: Out = Path("runs/codec"),
    models: Models = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the whole schedule.")] = 20_000,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop after this long, with a checkpoint.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per step, over all processes.")] = 16,
    crop: Annotated[int, typer.Option(min=64, help="Side of a crop, pixels.")] = 256,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="Peak, Adam.")] = 4e-4,
    max_edge: Annotated[
        int, typer.Option(min=64, help="Longest side of the pictures in memory, pixels.")
    ] = TRAINING_MAX_EDGE,
    device: Device = None,
    seed: Seed = 1,
) -> None:
    """Train a codec against a frozen detector, from nothing but pictures. Goes on where it stopped.

    One picture in ten, chosen by its name, is kept for validation. Several processes:
    torchrun --nproc-per-node N -m slimcli train codec ...
    """
    with needs_extra("train", "train codec"):
        from slimnets.config import CodecConfig
        from slimtrain.codec_train import CodecRun
        from slimtrain.codec_train import train_codec as run_training
        from slimtrain.detector_artifact import load_detector_model
        from slimtrain.pictures import index_pictures, load_pictures

    from slimcodec import find_model, load_detector_artifact

    folder = find_model("detector", detector, models)
    split = load_detector_artifact(folder).manifest.split
    entries = index_pictures(images)
    training = load_pictures([e for e in entries if not e.is_validation], max_edge).images
    validation = load_pictures([e for e in entries if e.is_validation], max_edge).images
    if not training or not validation:
        raise BadUsageError(
            f"{len(training)} pictures to train on and {len(validation)} for validation, which is "
            "one in ten by name; give more pictures"
        )
    say(f"{len(training)} pictures to train on, {len(validation)} for validation")

    run = CodecRun(
        out=out,
        split_layer=split.layer,
        config=CodecConfig(feature_channels=split.channels),
        steps=steps,
        seconds=seconds,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        seed=seed,
        device=device or _best_device(),
    )
    checkpoint = run_training(run, load_detector_model(folder), training, validation)
    say(f"{checkpoint}: `slimwire export` makes a model of it")


def train_detector(
    images: Images,
    cfg: Annotated[Path, typer.Option(metavar="F.cfg", exists=True, help="Darknet's graph.")],
    weights: Annotated[
        Path | None,
        typer.Option(metavar="F.weights", exists=True, help="To begin from; not given: at random."),
    ] = None,
    out: Out = Path("runs/detector"),
    seconds: Annotated[float, typer.Option(min=1, help="Of the whole run.")] = 3600.0,
    widen: Annotated[int, typer.Option(min=1, help="Multiply the channels of the cfg.")] = 1,
    image_size: Annotated[int, typer.Option(min=64, help="Pixels a side in training.")] = 416,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="Peak, AdamW.")] = 2e-3,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a Darknet detector on labelled pictures. Goes on where it stopped."""
    with needs_extra("train", "train detector"):
        from slimnets.darknet import save_darknet_weights
        from slimtrain.detector_train import DetectorRun, assemble_export
        from slimtrain.detector_train import train_detector as run_training
        from slimtrain.pictures import PackSetting, index_pictures, pack_pictures

    pack = out / "pictures.npz"
    if not pack.exists():
        pack_pictures(index_pictures(images), pack, PackSetting(TRAINING_MAX_EDGE, PACK_QUALITY))
    run = DetectorRun(
        pack=pack,
        out=out,
        init_cfg=cfg,
        init_weights=weights,
        seconds=seconds,
        widen=widen,
        image_size=image_size,
        batch_size=batch,
        learning_rate=learning_rate,
        device=device or _best_device(),
        seed=seed,
    )
    figures = run_training(run)
    trained = out / "detector.weights"
    save_darknet_weights(assemble_export(out / "export", "average"), trained)
    for name, value in figures.items():
        say(f"{name}: {'not measured' if value is None else f'{value:.4f}'}")
    say(f"{trained}: `slimwire detector import` makes a model of it and {out / 'detector.cfg'}")


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
