"""The detector's training loop, on a tiny detector and a few pictures."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from slimnets.darknet.detector import Darknet, load_darknet_weights, parse_cfg, save_darknet_weights
from slimtrain.data.pictures import PackSetting, index_pictures, pack_pictures
from slimtrain.data.split import is_validation
from slimtrain.detector.evaluate import decode_candidates
from slimtrain.detector.start import stretch_heads
from slimtrain.detector.train import (
    DetectorRun,
    assemble_export,
    main,
    train_detector,
)
from support.toy_artifact import make_image

CFG = """
[net]
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=16
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1
anchors=20,20, 40,40
classes=3
num=2
"""


@pytest.fixture
def run(tmp_path: Path) -> DetectorRun:
    folder = tmp_path / "made"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    names = [f"{number}.png" for number in range(40)]
    chosen = [n for n in names if is_validation(n)][:2] + [
        n for n in names if not is_validation(n)
    ][:6]
    for number, name in enumerate(chosen):
        Image.fromarray(make_image(64, 96, seed=number)).save(folder / "images" / name)
        (folder / "labels" / name).with_suffix(".txt").write_text("1 0.5 0.37 0.33 0.25\n")
    pack_pictures(index_pictures([folder]), tmp_path / "pack.bin", PackSetting(96, 90))
    (tmp_path / "tiny.cfg").write_text(CFG)
    return DetectorRun(
        pack=tmp_path / "pack.bin",
        out=tmp_path / "run",
        init_cfg=tmp_path / "tiny.cfg",
        init_weights=None,
        seconds=600,
        image_size=64,
        batch_size=4,
        warmup_steps=2,
        max_steps=6,
        device="cpu",
    )


def _log(run: DetectorRun) -> list[dict[str, str]]:
    with (run.out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_a_log_and_weights_that_can_be_assembled(run: DetectorRun) -> None:
    figures = train_detector(run)

    model = assemble_export(run.out / "export")
    checkpoint = torch.load(run.out / "checkpoint.pt", weights_only=True)
    average = checkpoint["average"]["state"]
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, average[name], atol=1e-3, rtol=1e-3, check_dtype=False)
    assert checkpoint["step"] == 6
    assert model.head_specs[0].scale_x_y == 2.0
    rows = _log(run)
    assert float(rows[0]["loss"]) > 0
    assert set(figures) <= set(rows[-1])


def test_a_stopped_run_goes_on_where_it_was(run: DetectorRun) -> None:
    train_detector(replace(run, max_steps=3))
    train_detector(run)

    checkpoint = torch.load(run.out / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 6
    steps = [int(row["step"]) for row in _log(run)]
    assert steps == sorted(steps)
    assert steps[-1] == 6


def test_training_learns_a_fixed_scene(run: DetectorRun) -> None:
    train_detector(replace(run, max_steps=120, learning_rate=5e-3))

    rows = _log(run)
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert losses[-1] < 0.8 * losses[0]


def test_an_export_becomes_a_darknet_file(run: DetectorRun, tmp_path: Path) -> None:
    train_detector(run)

    status = main(
        [
            "--assemble",
            str(run.out / "export"),
            "--weights-out",
            str(tmp_path / "d.weights"),
            "--cfg-out",
            str(tmp_path / "d.cfg"),
        ]
    )

    assert status == 0
    model = Darknet(parse_cfg((tmp_path / "d.cfg").read_text())).eval()
    load_darknet_weights(model, tmp_path / "d.weights")
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(x), assemble_export(run.out / "export")(x))


def test_a_widened_run_starts_from_given_weights(run: DetectorRun, tmp_path: Path) -> None:
    model = Darknet(parse_cfg(CFG))
    save_darknet_weights(model, tmp_path / "tiny.weights")

    train_detector(replace(run, init_weights=tmp_path / "tiny.weights", widen=2, max_steps=1))

    widened = assemble_export(run.out / "export")
    assert widened.layer_shape(0).channels == 16
    assert widened.head_specs[0].classes == 3


def test_stretched_heads_keep_scores_and_nearly_keep_boxes() -> None:
    torch.manual_seed(0)
    model = Darknet(parse_cfg(CFG)).eval()
    torch.nn.init.normal_(model.get_parameter("layers.2.conv.weight"), std=0.5)
    sections, state = stretch_heads(model.sections, model.state_dict(), 2.0)
    stretched = Darknet(sections).eval()
    stretched.load_state_dict(state)
    x = torch.rand(1, 3, 64, 64)

    with torch.inference_mode():
        before, scores, classes = decode_candidates(model(x), model.head_specs)
        after, new_scores, new_classes = decode_candidates(stretched(x), stretched.head_specs)

    torch.testing.assert_close(scores, new_scores)
    assert torch.equal(classes, new_classes)
    moved = (before - after).abs().max().item()
    assert 0 < moved < 8 / 7  # the stride is 8 pixels
