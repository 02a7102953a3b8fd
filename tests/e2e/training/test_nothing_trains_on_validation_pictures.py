"""No command that learns from pictures ever learns from one that is for validation.

Every picture is of one colour, so what a trainer really holds in its hands tells which file it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slimtrain.data.split import is_validation
from support.command import Slimwire

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch  # noqa: E402

from slimnets.darknet.weights import save_darknet_weights  # noqa: E402
from slimnets.export.tabulate import tabulate  # noqa: E402
from slimtrain.codec.artifact import CodecParts  # noqa: E402
from slimtrain.data.crops import CropSampler  # noqa: E402
from support.models.darknets import ALL_LAYERS_CFG, make_darknet  # noqa: E402

COUNT = 60
STEP = 4  # of the colours: more than what a lossy pack changes
NAMES = [f"p{number:02d}.png" for number in range(COUNT)]
TRAINING = {name for name in NAMES if not is_validation(name)}
RECIPE = """
kind: codec
detector: mine
codec:
  channels: [[2, 2, 4, 4], [4, 4, 6, 8]]
  qualities: 2
  feature_width: 8
  synthesis_widths: [8, 8, 8, 8]
loss: {machine_levels: [1.0, 1.0], view_levels: [0.5, 1.0]}
schedule: {steps: 12, batch: 16, crop: 64}
"""


class Stopped(Exception):
    """Ends a command where its trainer would begin."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of both sides of the split, with a label each."""
    for name in ("images", "labels"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.new("RGB", (64, 64), (STEP * number,) * 3).save(tmp_path / "pictures/images" / name)
        label = tmp_path / "pictures/labels" / Path(name).with_suffix(".txt")
        label.write_text("0 0.5 0.5 0.5 0.5\n")
    return tmp_path / "pictures"


def names_of(images: Iterable[NDArray[Any]]) -> set[str]:
    """The files that these pictures (0 to 255) or crops of them are."""
    return {NAMES[round(float(np.median(image)) / STEP)] for image in images}


def test_the_folder_has_pictures_of_both_sides() -> None:
    assert len(TRAINING) > 40
    assert len(NAMES) - len(TRAINING) > 3


def test_the_codec_and_its_tables(
    slimwire: Slimwire, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_from: set[str] = set()
    tabulated: set[str] = set()
    held: list[set[str]] = []

    class Sampler(CropSampler):
        """Notes which pictures it has, and those that are drawn where gradients flow."""

        def __init__(self, images: Any, *rest: Any) -> None:
            super().__init__(images, *rest)
            held.append(names_of(images))

        def batch(self, *arguments: Any) -> torch.Tensor:
            x = super().batch(*arguments)
            if torch.is_grad_enabled():
                learned_from.update(names_of(255 * x.numpy()))
            return x

    def count_symbols(codec: Any, x: Any) -> Any:
        x = list(x)
        tabulated.update(names_of(255 * picture.numpy() for picture in x))
        return tabulate(codec, x), None

    monkeypatch.setattr("slimtrain.codec.train.CropSampler", Sampler)
    parts = CodecParts(tabulate=count_symbols)
    monkeypatch.setattr("slimtrain.codec.artifact.CodecParts", lambda: parts)
    files = {suffix: tmp_path / f"mine.{suffix}" for suffix in ("cfg", "weights", "names")}
    files["cfg"].write_text(ALL_LAYERS_CFG)
    files["names"].write_text("cat\ndog\ncow\n")
    save_darknet_weights(make_darknet(), files["weights"])
    (tmp_path / "toy.yaml").write_text(RECIPE)
    command = ["make-model", "--images", pictures, "--out", tmp_path / "models"]
    command += ["--recipe", tmp_path / "toy.yaml", "--run", tmp_path / "run", "--threads", 1]
    command += [part for suffix, path in files.items() for part in (f"--{suffix}", path)]

    outcome = slimwire(*command, "--limit", 1)

    assert outcome.code == 0, outcome.err
    assert held == [TRAINING, set(NAMES) - TRAINING]
    assert learned_from <= TRAINING
    assert len(learned_from) > len(TRAINING) / 2
    assert tabulated == TRAINING


def test_the_detector(
    slimwire: Slimwire, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_from: set[str] = set()

    def sample(packed: Any, *rest: Any) -> None:
        assert names_of(picture.image for picture in packed) == {p.name for p in packed}
        learned_from.update(picture.name for picture in packed)
        raise Stopped

    monkeypatch.setattr("slimtrain.detector.train.DetectorSampler", sample)
    monkeypatch.setenv("SLIMWIRE_DEBUG", "1")
    (tmp_path / "mine.cfg").write_text(ALL_LAYERS_CFG)

    with pytest.raises(Stopped):
        slimwire(
            *("train", "detector", "--images", pictures, "--out", tmp_path / "run"),
            *("--cfg", tmp_path / "mine.cfg", "--device", "cpu"),
        )

    assert learned_from == TRAINING


@pytest.mark.parametrize("stage", ["triage", "tail"])
def test_the_clouds_stages(
    slimwire: Slimwire,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    learned_from: set[str] = set()

    def train(*arguments: Any) -> None:
        training, validation = (given for given in arguments if isinstance(given, list))
        assert names_of(picture.image for picture in training) == {p.name for p in training}
        assert {picture.name for picture in validation} == set(NAMES) - TRAINING
        learned_from.update(picture.name for picture in training)
        raise Stopped

    monkeypatch.setattr(f"slimtrain.{stage}.train.train_{stage}", train)
    monkeypatch.setenv("SLIMWIRE_DEBUG", "1")
    command = ["train", stage, "--images", pictures, "--out", tmp_path / "run", "--model", "toy"]
    target = ["--to", tmp_path / "models/toy/2"]

    with pytest.raises(Stopped):
        slimwire(*command, *target)

    assert learned_from == TRAINING
