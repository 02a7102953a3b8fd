"""`slimwire make-model`: a Darknet detector and unlabelled pictures -> a model that serves it.

    cfg, weights, names -import-> detector -+
    pictures ------------------ train codec -export-> codec -evaluate, calibrate-> profile.json

Each step leaves something behind, and is skipped when that is there: the same command goes on where
it was stopped. Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import BadUsageError, needs_extra
from slimcli.streams import say
from slimcli.train import calibrate as calibration
from slimcli.train import codec_and_detector as training
from slimcli.train import evaluate as evaluation
from slimcli.train import export as making
from slimcli.train.options import Batch, Device, Images, Seconds, Seed, Steps, TorchThreads

OWN_RECIPE = "own-detector"
RUN_ROOT = Path("runs")
VERSION = 1
# Pictures in memory and in the evaluation: enough for crops of 128 pixels, and for a first profile.
MAX_EDGE = 480  # pixels
EVALUATED_PICTURES = 64
# Sizes that the profile's seconds are of; `slimwire calibrate` measures others.
TIMED_SIZES = ["640x360", "1280x720"]


def make_model(
    cfg: Annotated[Path, typer.Option(metavar="F.cfg", exists=True, help="Darknet's graph.")],
    weights: Annotated[Path, typer.Option(metavar="F.weights", exists=True, help="Its weights.")],
    names: Annotated[Path, typer.Option(metavar="F.names", exists=True, help="A class a line.")],
    images: Images,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Models directory that gets both.")
    ] = Path("models"),
    name: Annotated[
        str | None,
        typer.Option(help="Of the detector; the codec is slim-NAME. Not given: the cfg's name."),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="F.yaml", help="Of the codec: a file, or a name.")
    ] = OWN_RECIPE,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of the training; not given: runs/slim-NAME.")
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=0, help="Layer after which to cut; as in `detector import`.")
    ] = None,
    steps: Steps = None,
    seconds: Seconds = None,
    batch: Batch = None,
    threads: TorchThreads = None,
    device: Device = None,
    seed: Seed = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Validation pictures to evaluate on, at most.")
    ] = EVALUATED_PICTURES,
    licence: making.Licence = making.LICENCE_UNKNOWN,
) -> None:
    """Make a model for a detector of your own. From its files and a folder of pictures.

    No labels are needed: the detector is the teacher, and agreement with it is what is measured.
    """
    with needs_extra("train", "make-model"):
        from slimtrain.recipe.schema import CodecRecipe, load_recipe

    from slimcodec.model.find import find_model

    detector = name or cfg.stem
    codec = f"slim-{detector}"
    detector_folder, codec_folder = (out / each / str(VERSION) for each in (detector, codec))
    run = run or RUN_ROOT / codec
    begin = load_recipe(recipe, CodecRecipe).start_from

    if detector_folder.exists():
        _check_same_weights(detector_folder, weights)
        say(f"{detector_folder}: there already")
    else:
        making.import_detector(cfg, weights, names, detector_folder, split, licence)

    if codec_folder.exists():
        say(f"{codec_folder}: there already")
    else:
        # the codec to begin with is among the models that came along, not among the new ones
        known = begin is None or Path(begin).exists()
        training.train_codec(
            images=images,
            recipe=recipe,
            detector=detector,
            start_from=None if known else str(find_model("codec", str(begin))),
            out=run,
            models=out,
            steps=steps,
            seconds=seconds,
            batch=batch,
            max_edge=MAX_EDGE,
            threads=threads,
            device=device,
            seed=seed,
        )
        making.export_codec(run / "checkpoint.pt", images, codec_folder, detector, licence, out)

    if (codec_folder / "profile.json").exists():
        say(f"{codec_folder / 'profile.json'}: there already")
    else:
        evaluation.evaluate(
            images=images,
            out=run / "report",
            model=[codec],
            baseline=[evaluation.BaselineName.JPEG],
            limit=limit,
            validation=True,
            profile=True,
            models=out,
        )
        calibration.calibrate(size=TIMED_SIZES, model=codec, models=out, threads=threads)

    say(f"To serve {codec} (on one machine, with a video of yours):")
    say(f"  slimwire demo --models {out} --model {codec} --source VIDEO")
    say(f"  slimwire cloud --models {out} --model {codec}")
    say(f"  slimwire edge --models {out} --model {codec} --source VIDEO --cloud HOST:PORT")


def _check_same_weights(folder: Path, weights: Path) -> None:
    """Refuse to go on with a detector of the same name that came from other weights."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = manifest["training"].get("weights_sha256")
    if found != hashlib.sha256(weights.read_bytes()).hexdigest():
        raise BadUsageError(f"{folder} is of other weights than {weights}; give another --name")
