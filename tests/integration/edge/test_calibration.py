"""A whole edge learns at its first start what encoding takes, and knows it at the next."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimedge.app import run_edge
from slimedge.event import Sent
from slimedge.settings import EdgeSettings
from support.edge.edge_recorder import EdgeRecorder
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image, make_toy_codec

IMAGE_HW = (64, 96)


@pytest.fixture
def codec(tmp_path: Path) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path / "models"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(make_image(*IMAGE_HW, seed=index)).save(folder / f"{index}.png")
    return folder


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "slimedge.encode.calibration"]


async def run_once(codec: CodecArtifact, pictures: Path, cache: Path) -> EdgeRecorder:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = EdgeSettings(
            cloud_address=cloud.address,
            camera_id="cam-1",
            source=str(pictures),
            model="toy",
            models_root=codec.directory.parent.parent,
            picture_fps=25.0,
            encoder_threads=1,
            max_edge=48,
            cache_folder=cache,
        )
        await run_edge(settings, recorder)
    return recorder


async def test_seconds_are_measured_at_the_cameras_size_and_kept(
    codec: CodecArtifact, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="slimedge.encode.calibration")
    files_before = {path: path.read_bytes() for path in codec.directory.iterdir()}

    await run_once(codec, pictures, tmp_path / "cache")
    measured = [record.message for record in said(caplog)]
    (kept,) = (tmp_path / "cache").iterdir()
    timings = json.loads(kept.read_text())["timings"]

    assert measured == ["encoder measured"] * 4
    sizes = [(timing["level"], timing["height"], timing["width"]) for timing in timings]
    assert sizes == [(level, 32, 48) for level in range(4)]  # as after `max_edge`
    assert all(timing["encode_seconds"] > 0 for timing in timings)
    assert {path: path.read_bytes() for path in codec.directory.iterdir()} == files_before


async def test_kept_seconds_that_do_not_fit_are_measured_again(
    codec: CodecArtifact, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await run_once(codec, pictures, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    other = json.loads(kept.read_text())
    for timing in other["timings"]:
        timing["height"] *= 100  # as of another camera, whose seconds are no guide to this one's
        timing["width"] *= 100
    kept.write_text(json.dumps(other))
    caplog.set_level(logging.INFO, logger="slimedge.encode.calibration")

    await run_once(codec, pictures, tmp_path / "cache")
    again = {record.__dict__["reason"] for record in said(caplog)}

    assert again == {"not as in an earlier start"}
    assert len(json.loads(kept.read_text())["timings"]) == 8  # of both sizes


async def test_a_cache_that_cannot_be_written_stops_no_frame(
    codec: CodecArtifact, pictures: Path, tmp_path: Path
) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")

    recorder = await run_once(codec, pictures, occupied)

    assert recorder.of(Sent)
    assert occupied.read_text() == "a file"
