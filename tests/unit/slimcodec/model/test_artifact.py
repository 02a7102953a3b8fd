import json
import shutil
from pathlib import Path

import pytest

from slimcodec.errors import ModelError
from slimcodec.model.artifact import ChannelLayout, CodecArtifact, read_class_names
from slimcodec.model.find import find_model, models_root
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from support.models.toy_artifact import make_toy_codec, make_toy_detector


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_toy_codec(tmp_path, seed=3)


def edit_manifest(directory: Path, **changes: object) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_codec_knows_its_levels_groups_and_sizes(codec: CodecArtifact) -> None:
    assert codec.label == "toy/1"
    assert len(codec.fingerprint) == 8
    assert [level.latent_channels for level in codec.levels] == [8, 16, 24, 32]
    assert codec.widest_level == 3
    assert codec.latent_layout == ChannelLayout((8, 16, 24, 32), "nested")
    assert codec.latent_hw((1, 33)) == (2, 4)
    assert codec.profile is not None
    assert len(codec.profile.points) == 24


def test_detector_knows_its_split_and_heads(tmp_path: Path) -> None:
    detector = load_detector_artifact(make_toy_detector(tmp_path))

    assert detector.label == "toy-detector/1"
    assert [head.stride for head in detector.manifest.heads] == [32, 16, 8]
    assert (detector.manifest.split.stride, detector.manifest.classes) == (8, 80)
    assert detector.file("tail.onnx").exists()


def test_another_seed_is_another_fingerprint(tmp_path: Path) -> None:
    first = load_codec_artifact(make_toy_codec(tmp_path / "a", seed=1))
    again = load_codec_artifact(make_toy_codec(tmp_path / "b", seed=1))
    other = load_codec_artifact(make_toy_codec(tmp_path / "c", seed=2))

    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_highest_version_is_found_unless_one_is_pinned(tmp_path: Path, model: Path) -> None:
    for version in (2, 10):
        shutil.copytree(model, tmp_path / "toy" / str(version))

    assert find_model("codec", "toy", tmp_path) == tmp_path / "toy" / "10"
    assert find_model("codec", "toy/2", tmp_path) == tmp_path / "toy" / "2"


@pytest.mark.parametrize("name", ["other", "toy/7", "../toy", "toy/../toy/1", "", "*"])
def test_model_that_is_not_there_is_refused_with_what_is(
    tmp_path: Path, model: Path, name: str
) -> None:
    with pytest.raises(ModelError, match="there is toy"):
        find_model("codec", name, model.parents[1])


def test_model_of_the_other_kind_is_refused(model: Path) -> None:
    with pytest.raises(ModelError, match=r"'codec' model.*'detector' model"):
        find_model("detector", "toy", model.parents[1])


def test_models_root_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setenv("SLIMWIRE_MODELS", str(model.parents[1]))

    assert models_root() == model.parents[1]
    assert find_model("codec", "toy") == model


@pytest.mark.parametrize("name", ["g_a_0.onnx", "tables.npz", "g_s.onnx", "weights.safetensors"])
def test_altered_file_is_refused(model: Path, name: str) -> None:
    with (model / name).open("ab") as file:
        file.write(b"x")

    with pytest.raises(ModelError, match=rf"{name}.*SHA-256"):
        load_codec_artifact(model)


def test_edge_needs_only_what_it_runs(model: Path) -> None:
    for name in ("g_s.onnx", "feature_transform.onnx", "weights.safetensors", "profile.json"):
        (model / name).unlink()

    artifact = load_codec_artifact(model)

    assert artifact.analysis_path(3).exists()
    assert artifact.profile is None
    with pytest.raises(ModelError, match=r"g_s\.onnx: is missing"):
        artifact.file("g_s.onnx")
    with pytest.raises(ModelError, match=r"lists no g_x\.onnx"):
        artifact.file("g_x.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"kind": "detector"}, "kind"),
        ({"fingerprint": "xyz"}, "fingerprint"),
        ({"levels": []}, "levels"),
        ({"qualities": 5}, "tables for 6 qualities"),
        ({"pad_multiple": 24}, "multiple of latent_stride"),
        ({"files": {}}, r"lists no tables\.npz"),
        ({"files": {"../secret": {"sha256": "0" * 64, "bytes": 1}}}, "files"),
        ({"prior": "hyper"}, "prior"),
    ],
)
def test_impossible_manifest_is_refused(
    model: Path, changes: dict[str, object], message: str
) -> None:
    edit_manifest(model, **changes)

    with pytest.raises(ModelError, match=message):
        load_codec_artifact(model)


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_manifest_that_is_no_json_object_is_refused(model: Path, content: str) -> None:
    (model / "manifest.json").write_text(content)

    with pytest.raises(ModelError, match="JSON"):
        load_codec_artifact(model)


def test_directory_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing; is this a model's directory"):
        load_detector_artifact(tmp_path)


def test_class_names_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.names"
    path.write_bytes("\ufeffperson\r\n traffic light \nVélo\n\n".encode())

    assert read_class_names(path, classes=3) == ("person", "traffic light", "Vélo")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds 0 names"),
        (b"a\nb\n", "holds 2 names; the detector has 3 classes"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_file_that_gives_no_such_names_is_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(data)

    with pytest.raises(ModelError, match=rf"a\.names: {message}"):
        read_class_names(path, classes=3)
