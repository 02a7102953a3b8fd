"""One YAML file describes one model to train; there is no code in it.

    recipes/slim-n.yaml -load_recipe-> CodecRecipe -schedule, config, weights-> CodecRun

What a recipe may say are the trainers' own dataclasses with their defaults, so it says only what
differs from them, and a new setting of a trainer is at once one of its recipes. An unknown key is
refused with its path: a misspelt one would train another model for hours.
"""

from collections.abc import Mapping
from dataclasses import asdict
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

from slimcodec.model.find import DEFAULT_MODEL
from slimnets.codec.config import CodecConfig
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.train import CodecSchedule
from slimtrain.data.pictures import Labelling
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.train import DetectorSchedule
from slimtrain.recipe.find import RecipeError, find_recipe
from slimtrain.tail.model import TailLossWeights
from slimtrain.tail.train import TailSchedule
from slimtrain.triage.train import TriageSchedule


class _Strict(BaseModel):
    # `extra` reaches the dataclasses inside, too
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Recipe(_Strict):
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
