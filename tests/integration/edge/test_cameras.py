"""Several cameras in one process, with the toy codec against a cloud on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimedge.app import run_cameras
from slimedge.errors import CameraError, RefusedError
from slimedge.settings import EdgeSettings
from slimops.logs import JsonFormatter
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image, make_toy_codec

PICTURES = 3
PORT = re.compile(r"health and metrics on port (\d+)")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimedge.app._FIRST_RETRY_SECONDS", 0.05)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of the log, as the process writes them: each formatted on its own thread."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonFormatter().format(record))  # type: ignore[method-assign]  # the whole handler
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel("INFO")
    yield lines
    root.removeHandler(handler)
    root.setLevel("WARNING")


@pytest.fixture
def codec(tmp_path: Path) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path / "models"))


def settings_of(
    codec: CodecArtifact, cloud: FakeCloud, camera: str, **more: object
) -> EdgeSettings:
    """A camera whose source is a folder of its name, with pictures unless it is called lost."""
    folder = codec.directory.parents[2] / camera
    if camera != "lost":
        folder.mkdir()
        for index in range(PICTURES):
            image = make_image(64, 96, seed=index)
            Image.fromarray(image).save(folder / f"{index}.png")
    values: dict[str, object] = {
        "cloud_address": cloud.address,
        "camera_id": camera,
        "source": str(folder),
        "model": "toy",
        "models_root": codec.directory.parent.parent,
        "encoder_threads": 1,
        "picture_fps": 25.0,
        "max_fps": 25.0,
        "reconnect_min_seconds": 0.02,
    }
    return EdgeSettings.model_validate(values | more)


async def test_cameras_have_streams_of_their_own_and_one_that_fails_is_alone(
    codec: CodecArtifact, logged: list[str]
) -> None:
    async with FakeCloud(codec.fingerprint) as cloud:
        names = ("gate", "yard", "lost")
        await run_cameras([settings_of(codec, cloud, name) for name in names])

    assert {hello.camera_id for hello in cloud.hellos} == {"gate", "yard"}
    assert len({hello.epoch for hello in cloud.hellos}) == 2
    assert len(cloud.frames) == 2 * PICTURES
    totals = f"{PICTURES} captured, {PICTURES} sent, {PICTURES} detected"
    lines = [json.loads(line) for line in logged]
    said = {name: [x["message"] for x in lines if x.get("camera_id") == name] for name in names}
    assert f"camera ended: {totals}" in said["gate"]
    assert f"camera ended: {totals}" in said["yard"]
    assert "camera failed" in said["lost"]


async def test_a_refused_camera_is_tried_again_while_another_works(codec: CodecArtifact) -> None:
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.hello_refusals = [grpc.StatusCode.PERMISSION_DENIED]
        cameras = [settings_of(codec, cloud, name, loop=True) for name in ("gate", "yard")]
        running = asyncio.create_task(run_cameras(cameras))
        await cloud.wait_until(lambda: len(cloud.hellos) >= 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert sorted(hello.camera_id for hello in cloud.hellos) in (
        ["gate", "gate", "yard"],
        ["gate", "yard", "yard"],
    )


async def test_the_process_fails_when_all_have(codec: CodecArtifact) -> None:
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.hello_refusals = [grpc.StatusCode.PERMISSION_DENIED]
        cameras = [settings_of(codec, cloud, name) for name in ("gate", "lost")]

        with pytest.raises(RefusedError):
            await run_cameras(cameras)
        with pytest.raises(CameraError, match="lost"):
            await run_cameras(cameras[1:])


async def test_health_and_metrics_are_told_by_camera(
    codec: CodecArtifact, logged: list[str]
) -> None:
    async with FakeCloud(codec.fingerprint) as cloud:
        names = ("gate", "lost")
        cameras = [settings_of(codec, cloud, name, loop=True, http_port=0) for name in names]
        running = asyncio.create_task(run_cameras(cameras))
        await cloud.wait_until(lambda: bool(cloud.frames))
        port = next(int(found[1]) for line in logged if (found := PORT.search(line)))
        live, series = [await asyncio.to_thread(_get, port, path) for path in ("livez", "metrics")]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    health = json.loads(live)["cameras"]
    assert (health["gate"]["camera"], health["gate"]["failure"]) == ("up", "")
    assert "lost" in health["lost"]["failure"]
    assert 'slim_edge_link_up{camera="gate"} 1.0' in series.splitlines()
    assert series.count("# TYPE slim_edge_link_up gauge") == 1


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text
