"""The detector's training loop, on a tiny detector and a few pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights, save_darknet_weights
from slimtrain.data.pictures import Labelling, LoadedPicture
from slimtrain.detector.artifact import DarknetFiles, build_model
from slimtrain.detector.train import DetectorRun, train_detector
from slimtrain.loop.processes import LoopError
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


MORE = """
[route]
layers=1

[convolutional]
filters=8
size=1
stride=1
activation=linear

[yolo]
mask=0
anchors=8,8, 20,20, 40,40
classes=3
num=3
"""


def make_pictures(count: int, seed: int = 0) -> list[LoadedPicture]:
    box = np.array([[1, 0.5, 0.37, 0.33, 0.25, 1.0]], np.float32)
    return [
        LoadedPicture(make_image(64, 96, seed=i), box, f"{i}.png", "made")
        for i in range(seed, seed + count)
    ]


@pytest.fixture
def run(tmp_path: Path) -> DetectorRun:
    (tmp_path / "tiny.cfg").write_text(CFG)
    return DetectorRun(
        out=tmp_path / "run",
        cfg=tmp_path / "tiny.cfg",
        start=None,
        seconds=1e9,  # so long that the steps alone decide
        image_size=64,
        batch_size=4,
        warmup_steps=2,
        max_steps=6,
        device="cpu",
    )


def save_start(folder: Path, objectness: float = 0.0) -> DarknetFiles:
    """Files of a detector whose norms have seen something, and which sees more everywhere."""
    torch.manual_seed(7)
    model = Darknet(parse_cfg(CFG)).train()
    model(torch.rand(4, 3, 64, 64))
    with torch.no_grad():
        model.get_parameter("layers.2.conv.bias")[4::8] += objectness
    (folder / "start.cfg").write_text(CFG)
    save_darknet_weights(model, folder / "start.weights")
    return DarknetFiles(folder / "start.cfg", folder / "start.weights")


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
    first, *others = make_pictures(6)
    relabelled = [replace(first, boxes=None), *others]
    start = save_start(tmp_path)

    for pictures in (make_pictures(5), relabelled):
        with pytest.raises(LoopError, match="pictures .* another --out"):
            train_detector(run, pictures, make_pictures(2, seed=50))
    with pytest.raises(LoopError, match="weights to begin with none there"):
        train(replace(run, start=start))


def test_pictures_are_scored_by_folder_whatever_its_name(run: DetectorRun) -> None:
    folders = ("caltech101", "mot17mini", "caltech101", "caltech101")
    two = [
        replace(picture, source=folder)
        for picture, folder in zip(make_pictures(4, seed=50), folders, strict=True)
    ]

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


def test_a_graph_takes_the_layers_that_it_shares_with_its_start(
    run: DetectorRun, tmp_path: Path
) -> None:
    start = save_start(tmp_path)
    run.cfg.write_text(CFG + MORE)

    model, taken = build_model(run.cfg, start)

    given = start.load().state_dict()
    assert taken == 4
    assert len(model.head_specs) == 2
    assert all(torch.equal(model.state_dict()[name], given[name]) for name in given)


def test_a_graph_that_differs_from_its_start_begins_anew_there(
    run: DetectorRun, tmp_path: Path
) -> None:
    start = save_start(tmp_path)
    run.cfg.write_text(CFG.replace("stride=4", "stride=2"))

    model, taken = build_model(run.cfg, start)

    given, own = start.load().state_dict(), model.state_dict()
    assert taken == 1
    assert torch.equal(own["layers.0.conv.weight"], given["layers.0.conv.weight"])
    assert not torch.equal(own["layers.1.conv.weight"], given["layers.1.conv.weight"])


def test_frozen_layers_and_norms_stay_and_new_ones_learn_faster(
    run: DetectorRun, tmp_path: Path
) -> None:
    start = save_start(tmp_path)
    run.cfg.write_text(CFG + MORE)
    run = replace(run, start=start, frozen_layers=1, frozen_norms=True, warmup_steps=0)

    trained = train(replace(run, max_steps=1, fresh_rate=10.0)).state_dict()

    given = start.load().state_dict()
    frozen = [name for name in given if name.startswith("layers.0.") or "running" in name]
    assert all(torch.equal(trained[name], given[name]) for name in frozen)
    begun = build_model(run.cfg, start)[0].state_dict()
    moved = {name: (trained[name] - begun[name]).abs().max() for name in begun if "weight" in name}

    assert 0 < moved["layers.1.conv.weight"] < moved["layers.5.conv.weight"]


def test_a_taught_run_of_many_sizes_ends_like_a_whole_one(run: DetectorRun, tmp_path: Path) -> None:
    start = save_start(tmp_path)
    run = replace(run, start=start, taught=1.0, frozen_layers=1, frozen_norms=True)
    run = replace(
        run, image_sizes=(32, 64, 96), labellings={"made": Labelling(complete=frozenset())}
    )

    check_killed_run_ends_like_a_whole_one(
        lambda out: train(replace(run, out=out, max_steps=9)), tmp_path
    )


def test_a_teacher_keeps_what_nobody_labelled(run: DetectorRun, tmp_path: Path) -> None:
    start = save_start(tmp_path, objectness=5.0)
    run = replace(run, start=start, max_steps=20, learning_rate=1e-2)

    def distance(labelling: Labelling, taught: float) -> float:
        out = tmp_path / f"{taught}"
        of = replace(run, out=out, taught=taught, labellings={"made": labelling})
        x = torch.stack([torch.from_numpy(picture.image) for picture in make_pictures(4)])
        x = x.permute(0, 3, 1, 2).float() / 255
        trained = train(of)
        with torch.inference_mode():
            return float((trained(x)[0] - start.load()(x)[0]).abs()[:, 4::8].mean())

    unknown = Labelling(complete=frozenset())
    assert distance(unknown, 1.0) < 0.5 * distance(unknown, 0.0)
