"""A recipe, a detector and what the command line says besides -> the run of a codec's trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slimcodec.model.find import find_model
from slimnets.codec.config import CodecConfig
from slimnets.codec.stem_transform import stem_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.codec.artifact import codec_from_checkpoint, load_codec_model
from slimtrain.codec.train import CodecRun
from slimtrain.recipe.find import RecipeError
from slimtrain.recipe.schema import CodecRecipe, check_levels


def build_codec_run(
    recipe: CodecRecipe,
    detector: Darknet,
    split_layer: int,
    out: Path,
    models: Path | None = None,
    start_from: str | None = None,
    **schedule: Any,
) -> CodecRun:
    """The run that a recipe describes.

    Args:
        detector, split_layer: the teacher, and where it is cut; a codec's features, and perhaps
            its stem, are those of the teacher.
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
        split_layer=split_layer,
        config=shape_for(config, detector, split_layer),
        weights=recipe.loss,
        start_from=source,
        **{**recipe.schedule.given(), **given},
    )


def shape_for(config: CodecConfig, detector: Darknet, split_layer: int) -> CodecConfig:
    """The shape with what is the detector's own in it."""
    stem = stem_cfg(detector, split_layer) if config.feature_transform == "stem" else ""
    channels = detector.split_point(split_layer).channels
    return replace(config, feature_channels=channels, stem=stem)


def _find_start(name: str, models: Path | None) -> Path:
    path = Path(name)
    return path if path.exists() else find_model("codec", name, models)


def _config_of(source: Path) -> CodecConfig:
    """The shape of a codec's folder or of a checkpoint."""
    codec = load_codec_model(source) if source.is_dir() else codec_from_checkpoint(source).codec
    return codec.config
