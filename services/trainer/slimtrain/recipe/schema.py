"""One YAML file describes one model to train; there is no code in it.

    recipes/slim.yaml -load_recipe-> CodecRecipe -schedule, config, weights-> CodecRun

What a recipe may say are the trainers' own dataclasses with their defaults, so it says only what
differs from them, and a new setting of a trainer is at once one of its recipes. An unknown key is
refused with its path: a misspelt one would train another model for hours.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_detector_artifact
from slimnets.codec.config import CodecConfig
from slimnets.darknet.detector import Darknet
from slimtrain.codec.artifact import load_codec
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.start import shape_for
from slimtrain.codec.train import CodecRun, CodecSchedule, train_codec
from slimtrain.data.pictures import Labelling, load_divided
from slimtrain.detector.artifact import load_detector_model
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.train import DetectorSchedule
from slimtrain.recipe.find import RecipeError, find_recipe
from slimtrain.tail.model import TailLossWeights
from slimtrain.tail.train import TailSchedule
from slimtrain.triage.train import TriageSchedule

logger = logging.getLogger(__name__)


class _Recipe(BaseModel):
    # `extra` reaches the dataclasses inside, too
    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""  # for people


class CodecRecipe(_Recipe):
    """A codec."""

    kind: Literal["codec"]
    detector: str = "yolo-fastest-street"  # the teacher, by name or name/version
    # a model by name, or a folder or checkpoint, whose weights the run begins with; not given: at
    # random
    start_from: str | None = None
    # its shape; not given: that of `start_from`, else the trainer's own. `feature_channels` is the
    # detector's and must not be given
    codec: CodecConfig | None = None
    # its objective; a level's weight of zero leaves it out of that task
    loss: LossWeights = LossWeights()
    schedule: CodecSchedule = CodecSchedule()

    @field_validator("codec", mode="before")
    @classmethod
    def _leave_features_to_the_detector(cls, value: object) -> object:
        if isinstance(value, Mapping) and "feature_channels" in value:
            raise ValueError("feature_channels is the detector's; remove it")
        if isinstance(value, Mapping) and "stem" in value:
            raise ValueError("stem is the detector's; say feature_transform: stem")
        return value

    @model_validator(mode="after")
    def _weigh_every_level(self) -> Self:
        if self.codec is not None:
            self.loss.check_levels(self.codec.num_levels)
        return self


class DetectorRecipe(_Recipe):
    """A detector; its layers are those of a `.cfg`."""

    kind: Literal["detector"]
    schedule: DetectorSchedule = DetectorSchedule()
    # how the pictures of a folder of this name are labelled
    folders: dict[str, Labelling] = Field(default_factory=dict)
    augmentation: Augmentation = Augmentation()  # how far the pictures are changed


class TriageRecipe(_Recipe):
    """What the narrowest level of a codec is asked before anything else is sent."""

    kind: Literal["triage"]
    model: str = DEFAULT_MODEL  # the codec, by name or name/version
    schedule: TriageSchedule = TriageSchedule()


class TailRecipe(_Recipe):
    """The second stage: the cloud's side of a codec that is there, tuned."""

    kind: Literal["tail"]
    # "stem" begins a new feature transform from the detector's first layers
    feature_transform: Literal["stem"] | None = None
    feature_width: PositiveInt | None = None  # of a new one, channels at stride 16
    model: str = DEFAULT_MODEL  # the codec, by name or name/version
    loss: TailLossWeights = TailLossWeights()
    schedule: TailSchedule = TailSchedule()


Wanted = TypeVar("Wanted", bound=_Recipe)


def load_recipe(name: str, kind: type[Wanted]) -> Wanted:
    """The recipe of this file or name, checked.

    Raises:
        RecipeError: with the file and the path of each key that is wrong.
    """
    path = find_recipe(name)
    try:
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return kind.model_validate(read)
    except yaml.YAMLError as exc:
        raise RecipeError(f"{path}: is no YAML: {exc}") from exc
    except ValidationError as exc:
        wrong = (f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in exc.errors())
        raise RecipeError(f"{path}: {'; '.join(wrong)}") from exc


def settings(schedule: Any, **options: Any) -> dict[str, Any]:
    """The settings of a recipe's schedule, with the options that were given in their place.

    Args:
        options: of the command line; None: as the recipe, or else the trainer, says.
    """
    return asdict(schedule) | {name: value for name, value in options.items() if value is not None}


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
    images_of = [[picture.image for picture in part] for part in (training, validation)]
    return train_codec(run, teacher, *images_of)


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
    source = None
    if wanted is not None:
        source = Path(wanted) if Path(wanted).exists() else find_model("codec", wanted, models)
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
