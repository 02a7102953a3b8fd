"""A recipe, a detector and what the command line says besides -> the run of a codec's trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slimcodec.artifact import find_model
from slimcodec.manifest import Split
from slimnets.config import CodecConfig
from slimtrain.codec_artifact import codec_from_checkpoint, load_codec_model
from slimtrain.codec_train import CodecRun
from slimtrain.recipe import CodecRecipe, RecipeError, check_levels


def build_codec_run(
    recipe: CodecRecipe,
    split: Split,
    out: Path,
    models: Path | None = None,
    start_from: str | None = None,
    **schedule: Any,
) -> CodecRun:
    """The run that a recipe describes.

    Args:
        split: where the teacher is cut; its channels are those of the features.
        models: where models are looked for; None: as `find_model` does.
        start_from: instead of the recipe's.
        schedule: fields of `CodecRun` that replace the recipe's; None: as the recipe says.

    Raises:
        RecipeError: the loss has not a weight for every level.
        ModelError: there is no model to start from.
    """
    wanted = start_from or recipe.start_from
    source = None if wanted is None else _find_start(wanted, models)
    config = recipe.codec or (CodecConfig() if source is None else _config_of(source))
    try:
        check_levels(config, recipe.loss)
    except ValueError as exc:
        raise RecipeError(f"the shape of {source or 'the trainer'} has {exc}") from exc
    given = {name: value for name, value in schedule.items() if value is not None}
    return CodecRun(
        out=out,
        split_layer=split.layer,
        config=replace(config, feature_channels=split.channels),
        weights=recipe.loss,
        start_from=source,
        **{**recipe.schedule.given(), **given},
    )


def _find_start(name: str, models: Path | None) -> Path:
    path = Path(name)
    return path if path.exists() else find_model("codec", name, models)


def _config_of(source: Path) -> CodecConfig:
    """The shape of a codec's folder or of a checkpoint."""
    codec = load_codec_model(source) if source.is_dir() else codec_from_checkpoint(source).codec
    return codec.config
