"""A folder of pictures and Darknet files become a model that serves, in one command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slimcli.exits import ExitCode
from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.image import load_image
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.detector import Detector
from slimdetect.scores import Wanted
from support.command import Slimwire
from support.models.toy_artifact import make_image

pytestmark = pytest.mark.slow

pytest.importorskip("torch")
pytest.importorskip("onnx")

from slimnets.darknet.weights import save_darknet_weights  # noqa: E402
from support.models.darknets import ALL_LAYERS_CFG, make_darknet, public_cfgs  # noqa: E402

TOY_RECIPE = """
kind: codec
codec:
  channels: [[2, 2, 4, 4], [4, 4, 6, 8]]
  qualities: 2
  feature_width: 8
  synthesis_widths: [8, 8, 8, 8]
loss: {machine_levels: [1.0, 1.0], view_levels: [0.5, 1.0]}
schedule: {steps: 3, batch: 2, crop: 64}
"""
TEACHERS = [path for path in public_cfgs() if path.stem == "yolo-fastest-1.1"]
VALIDATION = "p00.png"  # by its hash
PAGE = Path(__file__).parents[3] / "docs/develop/training.md"


def detect_served(models: Path, codec: str, picture: Path) -> list[Detection]:
    """Boxes as the cloud finds them: encoded, decoded, feature transform, tail."""
    artifact = load_codec_artifact(find_model("codec", codec, models))
    assert artifact.manifest.detector is not None
    name = artifact.manifest.detector.name
    detector = load_detector_artifact(find_model("detector", name, models))
    runtime = OpenVinoRuntime(num_threads=1)
    container = Encoder(artifact, runtime).encode(load_image(picture), 0, 1).bitstream
    latent = Decoder(artifact, runtime).decode_latent(container)
    return list(Detector(artifact, detector, runtime).detect_latents([latent], Wanted(0.001))[0])


def test_one_command_serves_a_detector_of_ones_own(
    slimwire: Slimwire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    pictures.mkdir()
    for number in range(30):  # three of these names are for validation
        Image.fromarray(make_image(64, 96, seed=number)).save(pictures / f"p{number:02d}.png")
    files = {suffix: tmp_path / f"my.{suffix}" for suffix in ("cfg", "weights", "names")}
    files["cfg"].write_text(ALL_LAYERS_CFG)
    files["names"].write_text("cat\ndog\ncow\n")
    save_darknet_weights(make_darknet(), files["weights"])
    (tmp_path / "toy.yaml").write_text(TOY_RECIPE)
    darknet = [part for suffix, path in files.items() for part in (f"--{suffix}", path)]
    command: list[object] = ["make-model", *darknet, "--images", pictures, "--out", models]
    command += ["--run", tmp_path / "run", "--recipe", tmp_path / "toy.yaml"]
    command += ["--limit", 2, "--threads", 1]

    imported = slimwire("detector", "import", *darknet, "--to", models / "my/1")
    first = slimwire(*command)  # goes on behind the import
    made = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}
    again = slimwire(*command)
    by_page: dict[str, Any] = {}  # what the page shows in Python finds all of it there, too
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0], by_page)
    kept = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}
    save_darknet_weights(make_darknet(seed=1), files["weights"])
    other = slimwire(*command)

    for outcome in (imported, first, again):
        assert outcome.code == 0, outcome.err
    assert first.out.count("there already") == 1
    assert "27 pictures to train on, 3 for validation" in first.out
    assert "slimwire edge --models" in first.out
    assert again.out.count("there already") == 3
    assert made == kept
    assert by_page["folder"].absolute() == models / "slim-my/1"
    assert other.code == ExitCode.USAGE
    assert "--name" in other.err
    profile = json.loads((models / "slim-my/1/profile.json").read_text())
    assert len(profile["points"]) == 2 * 2
    assert profile["calibration"]["device"]
    assert detect_served(models, "slim-my", pictures / VALIDATION)


@pytest.mark.skipif(not TEACHERS, reason="no public detector beside the repository")
def test_a_public_detector_is_served_with_the_shipped_encoder(
    slimwire: Slimwire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = TEACHERS[0]
    data = cfg.parents[2]
    monkeypatch.delenv("SLIMWIRE_MODELS")  # the codec to begin with is the one that ships
    monkeypatch.delenv("SLIMWIRE_MODEL")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    street = sorted((data / "detect/dashcam_korea/images").glob("*"))[:40]
    for path in street:
        shutil.copy(path, pictures)
    models = tmp_path / "models"

    outcome = slimwire(
        *("make-model", "--cfg", cfg, "--weights", cfg.with_suffix(".weights")),
        *("--names", data / "detect/coco80.names", "--images", pictures, "--out", models),
        *("--run", tmp_path / "run", "--steps", 2, "--batch", 2, "--limit", 1, "--threads", 1),
    )

    assert outcome.code == 0, outcome.err
    codec = f"slim-{cfg.stem}"
    ours, shipped = (
        load_codec_artifact(find_model("codec", name, root)).manifest.levels
        for name, root in ((codec, models), (DEFAULT_MODEL, None))
    )
    assert ours == shipped
    assert detect_served(models, codec, street[0])
