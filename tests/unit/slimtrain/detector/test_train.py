"""The detector's training loop, on a tiny detector and a few pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights, save_darknet_weights
from slimtrain.data.pictures import Pictures
from slimtrain.detector.evaluate import decode_candidates
from slimtrain.detector.start import stretch_heads
from slimtrain.detector.train import DetectorRun, train_detector
from slimtrain.loop.errors import AnotherRunError, ProcessesError
from support.broken_runs import check_killed_run_ends_like_a_whole_one, log_of
from support.models.toy_artifact import make_image

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


def make_pictures(count: int, seed: int = 0) -> Pictures:
    box = np.array([[1, 0.5, 0.37, 0.33, 0.25, 1.0]], np.float32)
    return Pictures(
        images=[make_image(64, 96, seed=seed + i) for i in range(count)],
        boxes=[box] * count,
        names=[f"{seed + i}.png" for i in range(count)],
        sources=["made"] * count,
    )


@pytest.fixture
def run(tmp_path: Path) -> DetectorRun:
    (tmp_path / "tiny.cfg").write_text(CFG)
    return DetectorRun(
        out=tmp_path / "run",
        init_cfg=tmp_path / "tiny.cfg",
        init_weights=None,
        seconds=1e9,  # so long that the steps alone decide
        image_size=64,
        batch_size=4,
        warmup_steps=2,
        max_steps=6,
        device="cpu",
    )


def train(run: DetectorRun) -> Darknet:
    """The detector of the files that a run leaves."""
    weights = train_detector(run, make_pictures(6), make_pictures(2, seed=50))
    model = Darknet(parse_cfg(weights.with_suffix(".cfg").read_text())).eval()
    load_darknet_weights(model, weights)
    return model


def test_a_run_leaves_darknet_files_of_its_averaged_weights_and_their_figures(
    run: DetectorRun,
) -> None:
    model = train(run)

    checkpoint = torch.load(run.out / "checkpoint.pt", weights_only=True)
    average = checkpoint["average"]["state"]
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, average[name])
    assert checkpoint["step"] == 6
    assert model.head_specs[0].scale_x_y == 2.0
    (row,) = log_of(run.out)
    assert float(row["loss"]) > 0
    (figures,) = log_of(run.out, "validation.csv")
    assert (figures["folder"], figures["pictures"]) == ("all", "2")
    assert 0 <= float(figures["map50"]) <= 1


def test_a_killed_run_ends_like_a_whole_one(run: DetectorRun, tmp_path: Path) -> None:
    check_killed_run_ends_like_a_whole_one(
        lambda out: train(replace(run, out=out, max_steps=9)), tmp_path
    )


def test_other_pictures_labels_or_weights_are_refused(run: DetectorRun, tmp_path: Path) -> None:
    train(run)
    relabelled = replace(make_pictures(6), boxes=[None, *make_pictures(5).boxes])
    save_darknet_weights(Darknet(parse_cfg(CFG)), tmp_path / "w.weights")

    for pictures in (make_pictures(5), relabelled):
        with pytest.raises(AnotherRunError, match="pictures .* another --out"):
            train_detector(run, pictures, make_pictures(2, seed=50))
    with pytest.raises(AnotherRunError, match="weights to begin with none there"):
        train(replace(run, init_weights=tmp_path / "w.weights"))


def test_several_processes_are_refused_before_anything_is_written(
    run: DetectorRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ProcessesError, match="train detector trains in one process"):
        train(run)

    assert not run.out.exists()


def test_pictures_are_scored_by_folder_whatever_its_name(run: DetectorRun) -> None:
    two = make_pictures(4, seed=50)
    two = replace(two, sources=["caltech101", "mot17mini", "caltech101", "caltech101"])

    train_detector(run, make_pictures(6), two)

    rows = log_of(run.out, "validation.csv")
    assert {row["folder"]: row["pictures"] for row in rows} == {
        "all": "4",
        "caltech101": "3",
        "mot17mini": "1",
    }


def test_training_learns_a_fixed_scene(run: DetectorRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimtrain.loop.loop.LOG_EVERY", 20)

    train(replace(run, max_steps=120, learning_rate=5e-3))

    losses = [float(row["loss"]) for row in log_of(run.out)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_widened_run_starts_from_given_weights(run: DetectorRun, tmp_path: Path) -> None:
    model = Darknet(parse_cfg(CFG))
    save_darknet_weights(model, tmp_path / "tiny.weights")

    widened = train(replace(run, init_weights=tmp_path / "tiny.weights", widen=2, max_steps=1))

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
