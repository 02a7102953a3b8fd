"""The models that ship are whole, small, and hold each weight once."""

from pathlib import Path

import numpy as np
import pytest

from slimcodec.container import MAX_PIXELS, Container, pack_container
from slimcodec.context.coder import ContextCoder
from slimcodec.decode import TILE, Decoder, Latent, one_hot_levels
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.pixels import to_image
from slimcodec.sections import build_section_coder, parse_for

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))
OWN_WEIGHTS = {"tail.onnx", "triage.onnx"}  # of a codec; a graph beside weights names them
MAX_BYTES = 40 * 10**6
MAX_GRAPH_BYTES = 96 * 1024  # of nodes, names and small constants


def _is_codec(folder: Path) -> bool:
    return (folder / "g_s.onnx").exists()


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_one_codec_ships_and_all_models_are_small() -> None:
    assert [folder.parent.name for folder in filter(_is_codec, FOLDERS)] == [DEFAULT_MODEL]
    assert _bytes_of(MODELS) <= MAX_BYTES


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


@pytest.mark.parametrize(
    "folder", [folder for folder in FOLDERS if _is_codec(folder)], ids=lambda path: path.parent.name
)
def test_the_emptiest_pictures_are_taken_at_every_level_and_quality(folder: Path) -> None:
    artifact = load_codec_artifact(folder)
    encoder = Encoder(artifact, OpenVinoRuntime(1, "f32"))
    black, grey = (np.full((64, 96, 3), value, np.uint8) for value in (0, 128))

    for level in range(len(artifact.levels)):
        for quality in (0, 2.25, 5):
            for picture in (black, grey, black[:1, :1]):
                encoded = encoder.encode(picture, level, quality)
                assert parse_for(artifact, encoded.bitstream, MAX_PIXELS).level == level


@pytest.mark.parametrize("level", range(4))
def test_a_megapixel_of_zeros_is_taken(level: int) -> None:
    artifact = load_codec_artifact(find_model("codec", DEFAULT_MODEL, MODELS))
    coder, image_hw = build_section_coder(artifact, OpenVinoRuntime(1)), (1024, 1024)
    zeros = np.zeros(
        (artifact.levels[level].latent_channels, *artifact.latent_hw(image_hw)), np.float32
    )
    assert isinstance(coder, ContextCoder)
    for quality in (0, 2.25, 5):
        empty = Container(
            artifact.fingerprint, level, quality, image_hw, 0, (), prior=artifact.manifest.prior
        )

        whole = pack_container(coder.encode(zeros, empty)[0])

        assert parse_for(artifact, whole, MAX_PIXELS).quality == quality


@pytest.mark.parametrize(
    "folder", [folder for folder in FOLDERS if _is_codec(folder)], ids=lambda path: path.parent.name
)
def test_a_picture_of_tiles_is_the_picture_of_one_run(folder: Path) -> None:
    artifact, runtime = load_codec_artifact(folder), OpenVinoRuntime(1, "f32")
    h, w = TILE + 6, 2 * TILE - 9
    normal = np.random.default_rng(0).normal(0, 3, (1, artifact.levels[-1].latent_channels, h, w))
    level = artifact.widest_level
    planes = None if artifact.context is None else np.full((h, w), level, np.uint8)
    latent = Latent(normal.astype(np.float32), level, 0, (16 * h - 5, 16 * w), planes)

    picture = Decoder(artifact, runtime).decode_image(latent)

    g_s = runtime.load(artifact.file("g_s.onnx"))
    levels = one_hot_levels([latent], len(artifact.levels))
    whole = to_image(g_s(y_hat=latent.y_hat, level=levels)["x_hat"])[:-5].astype(int)
    assert picture.shape == whole.shape
    assert np.abs(picture - whole).max() <= 1  # the last bits may differ
