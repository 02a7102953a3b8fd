"""The triage rung: y_hat of the narrowest level -> which classes are there. No torch, no tail.

    latents -first M_0 channels-> triage.onnx -> logits (C,) -odds of the classes asked for add->
    presence, 0 to 1

`triage.json` beside the graph says which threshold keeps which part of the pictures in which the
detector found anything, as measured on validation pictures (`slimwire train triage`).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from slimcodec.decode import Latent
from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import read_checked

TRIAGE_GRAPH = "triage.onnx"
TRIAGE_SPEC = "triage.json"

_Share = Annotated[float, Field(ge=0, le=1)]


class OperatingChoice(BaseModel):
    """One threshold, and what it does on validation pictures that it was not chosen on."""

    model_config = ConfigDict(frozen=True)

    threshold: _Share  # a picture whose best presence is below it counts as quiet
    recall: _Share  # part of the pictures with a detection that are not quiet
    false_positive_rate: _Share  # part of the pictures without one that are not quiet


class TriageSpec(BaseModel):
    """`triage.json`: what the head was trained on and how well it tells pictures apart."""

    model_config = ConfigDict(frozen=True)

    classes: int = Field(ge=1)  # C; class ids are the detector's
    latent_channels: int = Field(ge=1)  # M_0
    labels: tuple[str, ...]  # of interest where nobody says otherwise; what follows is of them
    min_score: _Share  # a detection of at least this score is a presence
    threshold: _Share  # what is used where nobody chooses
    choices: tuple[OperatingChoice, ...]  # by rising recall where they were chosen
    auc: _Share
    average_precision: dict[str, float]  # of every label where validation has enough pictures of it
    kmac_per_pixel: float = Field(ge=0)
    pictures: int = Field(ge=1)  # views that the figures are of
    steps: int = Field(ge=0)
    detector: str  # name/version of the teacher


class TriageSession:
    """Runs a codec's triage head; safe from many threads.

    Raises:
        ModelError: the codec has no head, or one that does not fit it.
    """

    def __init__(self, artifact: CodecArtifact, runtime: Runtime) -> None:
        if TRIAGE_GRAPH not in artifact.manifest.files:
            raise ModelError(
                f"codec {artifact.label} has no triage head; train one with `slimwire train "
                "triage`, or turn triage off"
            )
        self.spec = _load_spec(artifact)
        self._path = artifact.file(TRIAGE_GRAPH)
        self._runtime = runtime

    def presence(self, latents: Sequence[Latent], class_ids: Sequence[int]) -> list[float]:
        """How sure it is that any of the classes is in each picture, 0 to 1; sizes may differ.

        Args:
            latents: their first M_0 channels must be those of the narrowest level.
            class_ids: what is of interest, at least one.
        """
        by_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, latent in enumerate(latents):
            by_size[latent.y_hat.shape[2:]].append(index)
        presence = [0.0] * len(latents)
        for indices in by_size.values():
            narrow = [latents[i].y_hat[:, : self.spec.latent_channels] for i in indices]
            graph = self._runtime.load(self._path)
            logits = graph(y_hat=np.concatenate(narrow))["logits"]  # (b, C)
            for index, row in zip(indices, logits[:, list(class_ids)], strict=True):
                presence[index] = float(any_presence(row))
        return presence


def any_presence(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., C) logits of single classes -> (...), 0 to 1: presence of any. Odds add."""
    presence: NDArray[np.float32] = 1 / (1 + np.exp(-np.logaddexp.reduce(logits, axis=-1)))
    return presence


def _load_spec(artifact: CodecArtifact) -> TriageSpec:
    path = artifact.file(TRIAGE_SPEC)
    spec = read_checked(path, TriageSpec)
    expected = artifact.levels[0].latent_channels
    if spec.latent_channels != expected:
        raise ModelError(
            f"{path}: a head for {spec.latent_channels} latent channels; the codec's narrowest "
            f"level has {expected}; train the head again"
        )
    return spec
