"""A recipe, a detector and what the command line says besides -> the run of a codec's trainer."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slimcodec.model.find import find_model
from slimcodec.model.load import load_detector_artifact
from slimnets.codec.config import CodecConfig
from slimnets.darknet.detector import Darknet
from slimtrain.codec.artifact import load_codec
from slimtrain.codec.start import shape_for
from slimtrain.codec.train import CodecRun, train_codec
from slimtrain.data.pictures import load_divided
from slimtrain.detector.artifact import load_detector_model
from slimtrain.recipe.find import RecipeError
from slimtrain.recipe.schema import CodecRecipe, settings

logger = logging.getLogger(__name__)


def train_codec_of(
    recipe: CodecRecipe,
    images: Iterable[Path],
    out: Path,
    max_edge: int,
    *,
    detector: str | None = None,
    models: Path | None = None,
    start_from: str | None = None,
    say: Callable[[str], None] = logger.info,
    **schedule: Any,
) -> Path:
    """Train (or go on training) the codec that a recipe describes; its checkpoint.

    Args:
        images: folders of pictures; those for validation are left out.
        max_edge: longest side of the pictures in memory, pixels.
        detector: the teacher, instead of the recipe's.
        models, start_from, schedule: as `build_codec_run` takes them.

    Raises:
        RecipeError, ModelError: as `build_codec_run`.
        PictureError: too few pictures.
        LoopError: as `train_codec`.
    """
    training, validation = load_divided(images, max_edge, say)
    folder = find_model("detector", detector or recipe.detector, models)
    teacher = load_detector_model(folder)
    split = load_detector_artifact(folder).manifest.split.layer
    run = build_codec_run(recipe, teacher, split, out, models, start_from, **schedule)
    return train_codec(run, teacher, training.images, validation.images)


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
    config = recipe.codec or (CodecConfig() if source is None else load_codec(source).config)
    try:
        recipe.loss.check_levels(config.num_levels)
    except ValueError as exc:
        raise RecipeError(f"the shape of {source or 'the trainer'} has {exc}") from exc
    return CodecRun(
        out=out,
        split_layer=split_layer,
        config=shape_for(config, detector, split_layer),
        weights=recipe.loss,
        start_from=source,
        **settings(recipe.schedule, **schedule),
    )


def _find_start(name: str, models: Path | None) -> Path:
    path = Path(name)
    return path if path.exists() else find_model("codec", name, models)
