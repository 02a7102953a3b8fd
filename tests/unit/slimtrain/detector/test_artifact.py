"""Detector artifacts: what is written is what serving reads, and detects the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_detector_artifact
from slimdetect.boxes import decode_heads
from slimnets.darknet.cfg import format_cfg, parse_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights, save_darknet_weights
from slimnets.errors import NetError, SplitError
from slimtrain.artifact_folder import ArtifactFolderError
from slimtrain.detector.artifact import (
    choose_split,
    import_detector,
    load_detector_model,
    write_detector_artifact,
)
from support.models.darknets import (
    ALL_LAYERS_SPLIT,
    make_darknet,
    make_pictures,
    public_cfgs,
)
from support.models.yolov3 import yolov3_cfg

NAMES = ("person", "car", "dog")


def write(model: Darknet, out_dir: Path) -> Path:
    return write_detector_artifact(
        model,
        NAMES,
        ALL_LAYERS_SPLIT,
        out_dir,
        training={"steps": 10},
        licence="Apache-2.0",
    )


def make_scene() -> NDArray[np.float32]:
    """x (1, 3, 256, 320): a sky, a road, and a few upright and flat shapes on it."""
    x = np.full((1, 3, 256, 320), 0.45, dtype=np.float32)
    x[:, 2, :110] += 0.3
    for left, top, w, h, colour in ((30, 90, 24, 70, 0.1), (120, 130, 90, 45, 0.8)):
        x[:, :, top : top + h, left : left + w] = colour
        x[:, 0, top + h // 3 : top + h // 2, left + 4 : left + w - 4] = 1 - colour
    noise = np.random.default_rng(0).normal(0, 0.02, x.shape)
    return np.clip(x + noise, 0, 1).astype(np.float32)


def test_serving_reads_what_was_written(tmp_path: Path) -> None:
    model = make_darknet()

    path = write(model, tmp_path / "tiny" / "3")
    artifact = load_detector_artifact(path)

    assert artifact.label == "tiny/3"
    assert artifact.manifest.split.model_dump() == {"layer": 7, "channels": 8, "stride": 8}
    assert artifact.manifest.classes == 3
    assert [(h.stride, h.anchors, h.scale_x_y) for h in artifact.manifest.heads] == [
        (h.stride, h.anchors, h.scale_x_y) for h in model.head_specs
    ]
    assert artifact.manifest.training == {"steps": 10}
    assert set(artifact.manifest.files) == {
        file.name for file in path.iterdir() if file.name != "manifest.json"
    }


@torch.no_grad()
def test_exported_graphs_and_reloaded_weights_agree_with_the_model(tmp_path: Path) -> None:
    model = make_darknet()
    x = make_pictures()

    path = write(model, tmp_path / "tiny" / "1")
    artifact = load_detector_artifact(path)
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    f = runtime.load(artifact.file("stem.onnx"))(x=x.numpy())["f"]
    served = runtime.load(artifact.file("tail.onnx"))(f=f)
    reloaded = load_detector_model(path)(x)

    for index, expected in enumerate(model(x)):
        limit = 4e-3 * expected.abs().max().item()
        np.testing.assert_allclose(served[f"head_{index}"], expected.numpy(), rtol=0, atol=limit)
        torch.testing.assert_close(reloaded[index], expected, rtol=0, atol=limit)


@pytest.mark.skipif(not public_cfgs(), reason="no Darknet detectors lie beside the repository")
@pytest.mark.parametrize("cfg", public_cfgs(), ids=[path.stem for path in public_cfgs()])
@torch.no_grad()
def test_imported_public_detectors_find_the_same_objects(cfg: Path, tmp_path: Path) -> None:
    model = Darknet(parse_cfg(cfg.read_text())).eval()
    load_darknet_weights(model, cfg.with_suffix(".weights"))
    x = make_scene()

    path = import_detector(
        cfg, cfg.with_suffix(".weights"), cfg.parent / "coco.names", tmp_path / "imported" / "1"
    )
    artifact = load_detector_artifact(path)
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    f = runtime.load(artifact.file("stem.onnx"))(x=x)["f"]
    tail = runtime.load(artifact.file("tail.onnx"))(f=f)

    raw = [head.numpy()[0] for head in model(torch.from_numpy(x))]
    served = [tail[f"head_{index}"][0] for index in range(len(raw))]
    # A score between them, so that rounding can lift no box over the limit on one side only.
    min_score = _quiet_score(decode_heads(raw, artifact.manifest.heads, 0.001).scores)
    expected, found = (decode_heads(r, artifact.manifest.heads, min_score) for r in (raw, served))
    assert len(expected.scores) > 0
    # Before suppression: which of two boxes with nearly equal scores stays is a matter of rounding.
    assert found.class_ids.tolist() == expected.class_ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0.05)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=2.0)  # pixels


def _quiet_score(scores: NDArray[np.float32]) -> float:
    """The middle of the widest relative gap among the fifty highest scores."""
    highest = np.sort(scores)[::-1][:50]
    gap = int(np.argmax(highest[:-1] / highest[1:]))
    return float(np.sqrt(highest[gap] * highest[gap + 1]))


def test_an_artifact_is_never_overwritten_and_leaves_no_ruins(tmp_path: Path) -> None:
    model = make_darknet()
    write(model, tmp_path / "tiny" / "1")

    with pytest.raises(ArtifactFolderError, match="raise the version"):
        write(model, tmp_path / "tiny" / "1")
    with pytest.raises(ArtifactFolderError, match="expected '<name>/<version>'"):
        write(model, tmp_path / "tiny" / "latest")

    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["1"]


def test_a_layer_at_which_nothing_can_be_cut_is_refused(tmp_path: Path) -> None:
    out_dir = tmp_path / "tiny" / "1"

    with pytest.raises(SplitError, match="reads layer 3"):
        write_detector_artifact(make_darknet(), NAMES, 5, out_dir, {}, "")

    assert not out_dir.exists()


def test_stored_weights_of_another_cfg_are_refused(tmp_path: Path) -> None:
    path = write(make_darknet(), tmp_path / "tiny" / "1")
    cfg = path / "detector.cfg"
    cfg.write_text(cfg.read_text().replace("size=3\nstride=1", "size=1\nstride=1", 1))

    with pytest.raises(NetError, match="does not fit detector.cfg"):
        load_detector_model(path)


def test_import_chooses_the_split_and_says_where_the_weights_come_from(tmp_path: Path) -> None:
    model = make_darknet()
    (tmp_path / "own.cfg").write_text(format_cfg(model.sections))
    (tmp_path / "own.names").write_text("\n".join(NAMES))
    save_darknet_weights(model, tmp_path / "own.weights")
    cfg, weights, names = (tmp_path / f"own.{suffix}" for suffix in ("cfg", "weights", "names"))

    path = import_detector(cfg, weights, names, tmp_path / "own" / "1", licence="mine")

    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["split"]["layer"] == ALL_LAYERS_SPLIT
    assert manifest["training"]["imported_from"] == {"cfg": "own.cfg", "weights": "own.weights"}
    assert manifest["licence"] == "mine"
    names.write_text("person\ncar\n")
    with pytest.raises(ModelError, match="holds 2 names"):
        import_detector(cfg, weights, names, tmp_path / "own" / "2")


def test_the_split_is_the_first_shortcut_at_stride_8() -> None:
    with torch.device("meta"):
        yolov3 = Darknet(parse_cfg(yolov3_cfg()))

    assert choose_split(yolov3).layer == 15


def test_without_a_shortcut_the_deepest_layer_at_stride_8_is_the_split() -> None:
    sections = [s for s in make_darknet().sections if s.kind not in ("shortcut", "dropout")]
    plain = [s for s in sections[:8] if s.kind != "route"]
    head = parse_cfg(
        "[net]\n[convolutional]\nstride=2\nfilters=8\nactivation=linear\n"
        "[yolo]\nmask=0\nanchors=4,5\nclasses=3\nnum=1\n"
    )[1:]

    model = Darknet([*plain, *head])

    assert choose_split(model).layer == len(plain) - 2


def test_a_detector_without_a_layer_at_stride_8_cannot_be_imported() -> None:
    cfg = "[net]\n[convolutional]\nfilters=8\n[yolo]\nmask=0\nanchors=4,5\nclasses=3\nnum=1\n"

    with pytest.raises(SplitError, match="no layer of stride 8"):
        choose_split(Darknet(parse_cfg(cfg)))


def test_running_statistics_are_stored(tmp_path: Path) -> None:
    model = make_darknet()

    reloaded = load_detector_model(write(model, tmp_path / "tiny" / "1"))

    for a, b in zip(model.modules(), reloaded.modules(), strict=True):
        if isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.BatchNorm2d):
            assert a.running_var is not None
            assert b.running_var is not None
            assert torch.equal(a.running_var, b.running_var)
