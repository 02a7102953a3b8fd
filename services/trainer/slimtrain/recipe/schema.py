"""One YAML file describes one model to train; there is no code in it.

    recipes/slim-n.yaml -load_recipe-> CodecRecipe -schedule, config, weights-> CodecRun

Names and defaults are those of the trainers' own dataclasses, so a recipe says only what differs
from them, and a new setting of a trainer is at once one of its recipes. An unknown key is refused
with its path: a misspelt one would train another model for hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from slimcodec.model.find import DEFAULT_MODEL
from slimnets.codec.config import CodecConfig
from slimtrain.codec.loss import LossWeights
from slimtrain.recipe.find import RecipeError, find_recipe
from slimtrain.tail.loss import TailLossWeights

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=64, multiple_of=32)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    # `extra` reaches the dataclasses inside, too
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Schedule(_Strict):
    def given(self) -> dict[str, Any]:
        """What the recipe says, as keyword arguments; the trainer has defaults for the rest."""
        return self.model_dump(exclude_none=True)


class CodecSchedule(_Schedule):
    """How long and on what a codec is trained: the fields of `CodecRun` of the same names."""

    steps: Count | None = None
    batch: Count | None = None
    crop: Pixels | None = None
    learning_rate: Rate | None = None
    average: Share | None = None
    deep_from: Share | None = None
    frozen_levels: Annotated[int, Field(ge=0)] | None = None
    seed: Seed | None = None


class DetectorSchedule(_Schedule):
    """How long and on what a detector is trained: the fields of `DetectorRun` of the same names."""

    seconds: Annotated[float, Field(ge=1)] = 3600.0
    widen: Count | None = None
    image_size: Pixels | None = None
    batch_size: Count | None = None
    learning_rate: Rate | None = None
    weight_decay: Share | None = None
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    average_decay: Share | None = None
    max_steps: Count | None = None
    folder_weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    seed: Seed | None = None


class TriageSchedule(_Schedule):
    """How long and on what a triage head is trained, and for what: fields of `TriageRun`."""

    labels: tuple[str, ...] | None = None
    steps: Count | None = None
    views: Count | None = None
    batch: Count | None = None
    learning_rate: Rate | None = None
    seed: Seed | None = None


class TailSchedule(_Schedule):
    """How long and on what the second stage is trained: fields of `TailRun`."""

    steps: Count | None = None
    batch: Count | None = None
    image_size: Pixels | None = None
    learning_rate: Rate | None = None
    tail_learning_rate: Share | None = None
    average: Share | None = None
    seed: Seed | None = None


class _Recipe(_Strict):
    about: str = ""  # for people


class CodecRecipe(_Recipe):
    """A codec.

    Args:
        detector: the teacher, by name or name/version.
        start_from: a model by name, or a folder or checkpoint, whose weights the run begins with;
            not given: at random.
        codec: its shape; not given: that of `start_from`, else the trainer's own.
            `feature_channels` is the detector's and must not be given.
        loss: its objective; a level's weight of zero leaves it out of that task.
    """

    kind: Literal["codec"]
    detector: str = "yolov3-slim"
    start_from: str | None = None
    codec: CodecConfig | None = None
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
            check_levels(self.codec, self.loss)
        return self


def check_levels(config: CodecConfig, loss: LossWeights) -> None:
    """Raise a ValueError where the loss does not weigh the codec's levels one by one."""
    if len(loss.machine_levels) != config.num_levels:
        raise ValueError(
            f"{len(loss.machine_levels)} weights in loss.machine_levels and loss.view_levels, "
            f"{config.num_levels} levels in codec.channels; give as many"
        )


class DetectorRecipe(_Recipe):
    """A detector.

    Args:
        graph: the model whose `detector.cfg` says the layers, by name or name/version.
    """

    kind: Literal["detector"]
    graph: str = "yolov3-slim"
    schedule: DetectorSchedule = DetectorSchedule()


class TriageRecipe(_Recipe):
    """What the narrowest level of a codec is asked before anything else is sent."""

    kind: Literal["triage"]
    model: str = DEFAULT_MODEL  # the codec, by name or name/version
    schedule: TriageSchedule = TriageSchedule()


class TailRecipe(_Recipe):
    """The second stage: the cloud's side of a codec that is there, tuned.

    Args:
        feature_transform: "stem" begins a new feature transform from the detector's first layers.
    """

    kind: Literal["tail"]
    feature_transform: Literal["stem"] | None = None
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
