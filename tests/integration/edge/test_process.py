"""The edge as a process: what it imports, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from slimcodec.model.load import load_codec_artifact
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image, make_toy_codec

NOT_FOR_THE_EDGE = ("torch", "compressai", "fastapi", "redis", "slimnets", "slimdetect", "onnx")


def test_the_edge_imports_nothing_of_training_or_of_the_cloud() -> None:
    program = (
        "import json, sys; import slimedge.app; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )

    imported = json.loads(result.stdout)
    assert [name for name in NOT_FOR_THE_EDGE if name in imported] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_process_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path / "models"))
    picture = tmp_path / "pictures" / "a.png"
    picture.parent.mkdir()
    Image.fromarray(make_image(64, 64)).save(picture)
    async with FakeCloud(codec.fingerprint) as cloud:
        process = await _start(cloud.address, tmp_path)
        try:
            await cloud.wait_until(lambda: len(cloud.frames) >= 2)
            process.send_signal(number)
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()

    assert process.returncode == 0
    assert "Traceback" not in errors.decode()


async def test_another_model_ends_the_process_with_one_line(tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path / "models"))
    picture = tmp_path / "pictures" / "a.png"
    picture.parent.mkdir()
    Image.fromarray(make_image(64, 64)).save(picture)
    async with FakeCloud(b"\xff" * 8) as cloud:
        process = await _start(cloud.address, tmp_path)
        _, errors = await process.communicate()

    assert process.returncode == 78
    last = errors.decode().splitlines()[-1]
    assert codec.fingerprint.hex() in last
    assert "ffffffffffffffff" in last


def test_a_wrong_setting_stops_the_start_with_its_name() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "slimcli", "edge"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"EDGE_SOURCE": "a.mp4", "EDGE_DEADLINE_MS": "1000"},
    )

    assert result.returncode == 78
    assert "EDGE_DEADLINE_MS" in result.stderr


async def _start(address: str, folder: Path) -> asyncio.subprocess.Process:
    settings = {
        "EDGE_CLOUD_ADDRESS": address,
        "EDGE_SOURCE": str(folder / "pictures"),
        "EDGE_LOOP": "true",
        "EDGE_PICTURE_FPS": "20",
        "EDGE_MODEL": "toy",
        "EDGE_MODELS_ROOT": str(folder / "models"),
        "EDGE_HTTP_PORT": "0",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "slimcli",
        "edge",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | settings,
    )
