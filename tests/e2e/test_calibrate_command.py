"""`slimwire calibrate` measures this device, and keeps what it does not measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slimcli.exits import ExitCode
from slimcodec.detection import Detection
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.detector import Detector, Tail
from slimdetect.scores import Wanted
from support.command import Slimwire
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector


def write_pictures(folder: Path, count: int = 1) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        picture = Image.fromarray(make_image(96, 128, seed=number))
        picture.save(folder / f"{number}.png")
    return folder


def _yolo_row(found: Detection, image_hw: tuple[int, int]) -> str:
    (h, w), (x_min, y_min, x_max, y_max) = image_hw, found.box_xyxy
    centre = f"{(x_min + x_max) / 2 / w} {(y_min + y_max) / 2 / h}"
    return f"{found.class_id} {centre} {(x_max - x_min) / w} {(y_max - y_min) / h}\n"


def read_profile(folder: Path) -> dict[str, Any]:
    profile: dict[str, Any] = json.loads((folder / "profile.json").read_text())
    return profile


def test_calibrate_keeps_what_it_does_not_measure(slimwire: Slimwire, tmp_path: Path) -> None:
    models, pictures = tmp_path / "models", write_pictures(tmp_path / "pictures")
    folder = make_toy_codec(models)
    before = read_profile(folder)
    where = ("--size", "64x48", "--threads", "1", "--models", models)

    seconds = slimwire("calibrate", *where)
    middle = read_profile(folder)
    bytes_too = slimwire("calibrate", "--images", pictures, "--no-utility", *where)
    after = read_profile(folder)

    assert (seconds.code, bytes_too.code) == (0, 0), seconds.err + bytes_too.err
    bits = [[point["bpp"] for point in profile["points"]] for profile in (before, middle, after)]
    assert bits[0] == bits[1] != bits[2]
    assert after["command"] == before["command"]
    assert [m["calibration"]["pictures"] for m in (middle, after)] == [0, 1]
    assert after["calibration"]["threads"] == 1
    assert after["utility_source"] is None
    sizes = {(t["level"], t["width"], t["height"]) for t in after["calibration"]["timings"]}
    assert sizes == {(level, 64, 48) for level in range(4)}


def test_utility_is_measured_against_the_uncompressed_pictures(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    models, pictures = tmp_path / "models", write_pictures(tmp_path / "pictures", count=3)
    folder = make_toy_codec(models)
    make_toy_detector(models)
    profile = read_profile(folder)
    between = {"level": 0, "quality": 0.5, "bpp": 0.2}  # as `evaluate --quality 0.5` leaves it
    profile["points"].append(between)
    (folder / "profile.json").write_text(json.dumps(profile))

    outcome = slimwire(
        "calibrate", "--images", pictures, "--limit", "2", "--size", "64x48", "--models", models
    )

    assert outcome.code == 0, outcome.err
    profile = read_profile(folder)
    assert (profile["utility_source"], profile["utility_pictures"]) == ("uncompressed", 2)
    *measured, kept = profile["points"]
    assert all(0 <= point["utility"] <= 1 for point in measured)
    assert (kept["bpp"], kept["utility"]) == (0.2, None)
    assert "over that of the uncompressed pictures" in outcome.out


def test_utility_is_measured_against_labels_that_are_there(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    folder = make_toy_codec(models)
    artifact = load_codec_artifact(folder)
    detector = load_detector_artifact(make_toy_detector(models))
    write_pictures(pictures / "images")
    session = Detector(artifact, detector, OpenVinoRuntime(num_threads=1))
    best = max(
        session.detect_image(make_image(96, 128), Wanted(0.3)), key=lambda found: found.score
    )
    (pictures / "labels").mkdir()
    (pictures / "labels" / "0.txt").write_text(_yolo_row(best, (96, 128)))

    outcome = slimwire(
        "calibrate", "--images", pictures, "--size", "64x48", "--threads", "1", "--models", models
    )

    assert outcome.code == 0, outcome.err
    assert read_profile(folder)["utility_source"] == "labels"
    assert "1 boxes of 1 classes" in outcome.out


def test_scores_are_calibrated_as_a_new_version_of_a_detector(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    detector = load_detector_artifact(make_toy_detector(models))
    write_pictures(pictures / "images", count=8)
    (pictures / "labels").mkdir()
    alone = Tail(detector, detector, OpenVinoRuntime(num_threads=1))
    for number in range(8):
        found = alone.detect_image(make_image(96, 128, seed=number), Wanted(0.3))
        rows = [_yolo_row(detection, (96, 128)) for detection in found[: len(found) // 2]]
        (pictures / "labels" / f"{number}.txt").write_text("".join(rows))
    where = ("--model", "toy-detector", "--images", pictures, "--models", models)

    outcome = slimwire("detector", "calibrate", *where, "--to", models / "toy-detector" / "2")
    again = slimwire("detector", "calibrate", *where, "--to", models / "toy-detector" / "2")
    unlabelled = slimwire(
        "detector", "calibrate", "--model", "toy-detector", "--images", pictures / "images",
        "--models", models, "--to", models / "toy-detector" / "3",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    scores = load_detector_artifact(models / "toy-detector" / "2").manifest.scores
    shown = [score.threshold for score in scores if score.threshold is not None]
    assert len(scores) == 80
    assert shown
    assert f"from {min(shown):.2f}" in outcome.out
    assert "precision" in outcome.out
    assert again.code == ExitCode.CANNOT_CREATE
    assert unlabelled.code == ExitCode.BAD_DATA
    assert not (models / "toy-detector" / "3").exists()


def test_without_its_detector_a_codec_is_measured_without_utility_only_if_asked(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    models, pictures = tmp_path / "models", write_pictures(tmp_path / "pictures")
    make_toy_codec(models)

    outcome = slimwire("calibrate", "--images", pictures, "--models", models)

    assert outcome.code == ExitCode.USAGE
    assert "--no-utility" in outcome.err


@pytest.mark.parametrize("size", ["64", "0x48", "64x0"])
def test_a_wrong_size_is_refused(slimwire: Slimwire, size: str) -> None:
    outcome = slimwire("calibrate", "--size", size)

    assert outcome.code == ExitCode.USAGE
    assert "such as 1280x720" in outcome.err


def test_calibrate_needs_no_torch_and_no_extra(tmp_path: Path) -> None:
    models, pictures = tmp_path / "models", write_pictures(tmp_path / "pictures")
    folder = make_toy_codec(models)
    make_toy_detector(models)
    absent = ("torch", "compressai", "pycocotools", "tqdm", "av", "grpc", "matplotlib", "rich")
    arguments = ["calibrate", "--images", str(pictures), "--size", "64x48", "--models", str(models)]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        f"sys.argv = ['slimwire', *{arguments}]\n"
        "from slimcli.app import main\n"
        "main()\n"
    )

    outcome = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SLIMWIRE_MODEL": "toy"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr
    assert read_profile(folder)["utility_source"] == "uncompressed"
