"""The models that ship are whole, small, and hold each weight once."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcodec.model.artifact import CodecArtifact, load_codec_artifact, load_detector_artifact

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))
OWN_WEIGHTS = {"tail.onnx", "triage.onnx"}  # of a codec; a graph beside weights names them
MAX_BYTES = 60 * 10**6
MAX_BYTES_WITH_ONE_CODEC = 40 * 10**6
MAX_GRAPH_BYTES = 64 * 1024  # of nodes, names and small constants


def _is_codec(folder: Path) -> bool:
    return (folder / "g_s.onnx").exists()


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_all_models_and_one_codec_with_the_detector_are_small() -> None:
    detectors = sum(_bytes_of(folder) for folder in FOLDERS if not _is_codec(folder))

    assert _bytes_of(MODELS) <= MAX_BYTES
    for folder in filter(_is_codec, FOLDERS):
        assert detectors + _bytes_of(folder) <= MAX_BYTES_WITH_ONE_CODEC


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_model_is_whole_and_its_graphs_hold_no_weights(folder: Path) -> None:
    load = load_codec_artifact if _is_codec(folder) else load_detector_artifact
    artifact = load(folder)

    there = {path.name: path.stat().st_size for path in folder.iterdir()}
    listed = {name: record.bytes for name, record in artifact.manifest.files.items()}
    beside = {name: size for name, size in there.items() if name not in listed}
    assert beside.keys() <= {"manifest.json", "profile.json"}
    assert listed.items() <= there.items()
    own = OWN_WEIGHTS if isinstance(artifact, CodecArtifact) else set()
    graphs = {name: size for name, size in listed.items() if name.endswith(".onnx")}
    assert max(size for name, size in graphs.items() if name not in own) <= MAX_GRAPH_BYTES
