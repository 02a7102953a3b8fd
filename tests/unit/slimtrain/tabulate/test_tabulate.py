"""A codec gets a context prior: it serves, stills and video, and comes out the same each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import ModelReference
from slimedge.capture.video import Video
from slimedge.errors import CameraError
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimtrain.artifact_folder import ArtifactFolderError
from slimtrain.codec.artifact import write_codec_artifact
from slimtrain.data.pictures import PictureError
from slimtrain.data.split import is_validation
from slimtrain.loop.processes import LoopError
from slimtrain.tabulate.tabulate import TabulateSettings, tabulate
from support.models.toy_artifact import make_image

CONFIG = CodecConfig(
    ((4, 6, 8, 8), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    block_transform=True,
)
SCENE = make_image(96, 128, seed=3)


def shown(time: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A bright square that goes through the scene."""
    image = SCENE.copy()
    image[32:64, 8 * time : 8 * time + 24] = 230
    return image


def read_video(path: Path, fps: float) -> Iterator[NDArray[np.uint8]]:
    return (picture.image for picture in Video(str(path)).pictures(pytest.fail))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    torch.manual_seed(1)
    codec = CodecNet(CONFIG).eval()
    pictures = [make_image(128, 128, seed) for seed in range(2)]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    codec.start_from(x)
    folder = tmp_path_factory.mktemp("models") / "mine" / "1"
    detector = ModelReference(name="none", version=1)
    write_codec_artifact(codec, pictures, folder, detector, {"steps": 7}, {}, "Apache-2.0")
    (folder / "profile.json").write_text('{"points": [], "pictures": 1}')
    return load_codec_artifact(folder)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TabulateSettings:
    folder = tmp_path_factory.mktemp("material")
    (folder / "pictures").mkdir()
    for seed in range(14):
        Image.fromarray(make_image(80, 112, seed)).save(folder / "pictures" / f"{seed}.png")
    with av.open(str(folder / "gate.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.bit_rate = 128, 96, 2_000_000
        for time in range(12):
            frame = av.VideoFrame.from_ndarray(shown(time), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return TabulateSettings(
        images=[folder / "pictures"],
        videos=[folder / "gate.mp4"],
        to=folder / "mine" / "2",
        run=folder / "run",
        steps=6,
        inter_steps=4,
        batch=4,
        sequences=2,
        threads=1,
    )


@pytest.fixture(scope="module")
def made(source: CodecArtifact, settings: TabulateSettings) -> CodecArtifact:
    return load_codec_artifact(tabulate(source, settings, read_video))


def test_the_model_serves_pictures_and_video(made: CodecArtifact) -> None:
    runtime = OpenVinoRuntime(1, "f32")
    encoder, decoder = Encoder(made, runtime), Decoder(made, runtime)
    known = None
    for time in range(4):
        encoded = encoder.encode(shown(time), 1, 1.5, known)

        read = decoder.decode_symbols(encoded.bitstream, reference=known)

        assert encoded.symbols is not None
        assert read.digest == encoded.symbols.digest
        assert decoder.decode_image(decoder.latent_of(read)).shape == SCENE.shape
        known = read


def test_the_manifest_says_what_it_is(
    made: CodecArtifact, source: CodecArtifact, settings: TabulateSettings
) -> None:
    manifest = json.loads((made.directory / "manifest.json").read_text())

    assert made.manifest.prior == "context"
    assert made.manifest.pad_multiple == 32
    assert made.manifest.fingerprint != source.manifest.fingerprint
    assert made.profile is None
    assert manifest["training"]["steps"] == 7
    assert manifest["training"]["tabulate"]["videos"] == ["gate.mp4"]
    training = [seed for seed in range(14) if not is_validation(f"{seed}.png")]
    assert manifest["training"]["tabulate"]["pictures"] == len(training) < 14
    assert not [name for name in manifest["files"] if name.startswith(("h_", "hyper"))]


def test_the_same_material_gives_the_same_model(
    made: CodecArtifact, source: CodecArtifact, settings: TabulateSettings, tmp_path: Path
) -> None:
    again = replace(settings, to=tmp_path / "mine" / "3", run=tmp_path / "run")
    other = replace(settings, to=tmp_path / "mine" / "4", run=tmp_path / "other", seed=2)

    same, changed = (
        load_codec_artifact(tabulate(source, each, read_video)) for each in (again, other)
    )

    assert same.manifest.fingerprint == made.manifest.fingerprint
    assert changed.manifest.fingerprint != made.manifest.fingerprint


def test_a_run_on_other_material_is_refused(
    made: CodecArtifact, source: CodecArtifact, settings: TabulateSettings, tmp_path: Path
) -> None:
    with pytest.raises(LoopError, match="seed"):
        tabulate(source, replace(settings, to=tmp_path / "mine" / "3", seed=2), read_video)


def test_without_videos_every_frame_is_coded_alone(
    source: CodecArtifact, settings: TabulateSettings, tmp_path: Path
) -> None:
    to = tmp_path / "stills" / "1"
    stills = replace(settings, videos=(), to=to, run=tmp_path / "run", steps=1)

    context = load_codec_artifact(tabulate(source, stills, read_video)).context

    assert context is not None
    assert not [name for name in context.weights if name.startswith("inter")]


def test_a_place_that_is_taken_and_a_video_that_is_none_are_refused(
    made: CodecArtifact, source: CodecArtifact, settings: TabulateSettings, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactFolderError):
        tabulate(source, settings, read_video)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(CameraError, match=r"no\.mp4"):
        tabulate(
            source,
            replace(settings, videos=[tmp_path / "no.mp4"], to=tmp_path / "mine" / "3"),
            read_video,
        )


def test_a_video_of_one_frame_is_refused(
    source: CodecArtifact, settings: TabulateSettings, tmp_path: Path
) -> None:
    to = tmp_path / "mine" / "1"

    with pytest.raises(PictureError, match=r"gate\.mp4: gives 1 frames"):
        tabulate(source, replace(settings, to=to), lambda *_: [SCENE])
