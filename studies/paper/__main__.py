"""Training and exporting the paper's codecs.

    python -m studies.paper train studies/paper/s-bfm.yaml --images DIR --out runs/s-bfm
    python -m studies.paper export runs/s-bfm/checkpoint.pt --detector NAME --images DIR --to DIR

What is exported is served, evaluated and tabulated as any codec is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimcodec.model.find import find_model
from slimcodec.model.load import load_detector_artifact
from slimcodec.model.manifest import ModelReference
from slimtrain.artifact_folder import LICENCE_UNKNOWN
from slimtrain.codec.artifact import training_pictures
from slimtrain.recipe.schema import load_recipe, train_codec_of
from studies.paper.artifact import load_trained, write_paper_artifact
from studies.paper.recipe import PaperRecipe, build_codec

app = typer.Typer(help=__doc__, no_args_is_help=True)

Images = Annotated[list[Path], typer.Option("--images", exists=True)]


@app.command()
def train(
    recipe: str,
    images: Images,
    out: Path,
    detector: str | None = None,
    models: Path | None = None,
    start_from: str | None = None,
    max_edge: int = 640,
) -> None:
    """Train, or go on training, as `slimwire train codec` does."""
    checkpoint = train_codec_of(
        load_recipe(recipe, PaperRecipe),
        images,
        out,
        max_edge,
        detector=detector,
        models=models,
        start_from=start_from,
        say=typer.echo,
        build=build_codec,
    )
    typer.echo(checkpoint)


@app.command()
def export(
    checkpoint: Path,
    images: Images,
    detector: str,
    to: Path,
    models: Path | None = None,
    licence: str = LICENCE_UNKNOWN,
) -> None:
    """Make a model of a checkpoint, as `slimwire export` does."""
    manifest = load_detector_artifact(find_model("detector", detector, models)).manifest
    reference = ModelReference(name=manifest.name, version=manifest.version)
    codec, tasks = load_trained(checkpoint)
    write_paper_artifact(codec, training_pictures(images), to, reference, licence, tasks)


if __name__ == "__main__":
    app()
