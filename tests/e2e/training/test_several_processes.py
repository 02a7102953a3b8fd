"""The training commands under torchrun: a recipe trained by two, and who writes what follows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.command import Slimwire
from support.models.toy_artifact import make_image

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from slimnets.darknet.weights import save_darknet_weights  # noqa: E402
from support.models.darknets import ALL_LAYERS_CFG, make_darknet  # noqa: E402

STEPS = 6
RECIPE = f"""
kind: codec
detector: mine
codec:
  channels: [[2, 2, 2, 2], [2, 2, 4, 4], [4, 4, 6, 8]]
  qualities: 2
  feature_width: 8
  synthesis_widths: [8, 8, 8, 8]
loss: {{machine_levels: [1.0, 1.0, 1.0], view_levels: [0.0, 0.0, 1.0]}}
schedule: {{steps: {STEPS}, batch: 2, crop: 64}}
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        picture = make_image(64, 96, seed=number)
        Image.fromarray(picture).save(tmp_path / "pictures" / f"p{number:02d}.png")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_two_processes_train_a_recipe_of_three_levels(
    slimwire: Slimwire, pictures: Path, tmp_path: Path
) -> None:
    """Each step of each may leave out other levels of the model."""
    files = {suffix: tmp_path / f"mine.{suffix}" for suffix in ("cfg", "weights", "names")}
    files["cfg"].write_text(ALL_LAYERS_CFG)
    files["names"].write_text("cat\ndog\ncow\n")
    save_darknet_weights(make_darknet(), files["weights"])
    darknet = [part for suffix, path in files.items() for part in (f"--{suffix}", path)]
    assert slimwire("detector", "import", *darknet, "--to", tmp_path / "models/mine/1").code == 0
    (tmp_path / "toy.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "slimcli", "train", "codec", "--recipe", str(tmp_path / "toy.yaml")]
    command += ["--images", str(pictures), "--models", str(tmp_path / "models")]
    command += ["--out", str(tmp_path / "run"), "--device", "cpu"]

    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert state["step"] == STEPS


@pytest.mark.parametrize("stage", ["triage", "tail"])
def test_the_first_alone_makes_a_version_and_says_so(
    slimwire: Slimwire,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    monkeypatch.setattr(f"slimtrain.{stage}.train.train_{stage}", lambda *_: None)
    monkeypatch.setenv("RANK", "1")

    outcome = slimwire(
        *("train", stage, "--images", pictures, "--model", "toy"),
        *("--out", tmp_path / "run", "--to", tmp_path / "models/toy/2"),
    )

    assert (outcome.code, len(outcome.out.splitlines())) == (0, 1), outcome
    assert not (tmp_path / "models").exists()
