"""A recipe trained by two processes: each step of each may leave out other levels of the model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.command import Slimwire
from support.models.toy_artifact import make_image

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from slimnets.darknet.weights import save_darknet_weights  # noqa: E402
from support.models.darknets import ALL_LAYERS_CFG, make_darknet  # noqa: E402

STEPS = 6
RECIPE = f"""
kind: codec
detector: mine
codec:
  sharing: switchable
  channels: [[2, 2, 2, 2], [2, 2, 4, 4], [4, 4, 6, 8]]
  qualities: 2
  feature_width: 8
  synthesis_widths: [8, 8, 8, 8]
loss: {{machine_levels: [1.0, 1.0, 1.0], view_levels: [0.0, 0.0, 1.0]}}
schedule: {{steps: {STEPS}, batch: 2, crop: 64}}
"""


def test_two_processes_train_a_recipe_of_three_levels(slimwire: Slimwire, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(20):
        picture = make_image(64, 96, seed=number)
        Image.fromarray(picture).save(pictures / f"p{number:02d}.png")
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
