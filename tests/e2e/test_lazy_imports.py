"""Each command works with what it needs, and names the extra when something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slimcli.exits import ExitCode
from slimops.installation import how_to_install
from support.command import Slimwire

# Runs one command line and then prints which packages were loaded.
_RUN_AND_LIST = """
import json, sys
from slimcli.app import run
code = run(sys.argv[1:])
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": code, "loaded": loaded}))
"""
_HEAVY = {"torch", "torchvision", "compressai", "onnx", "pycocotools", "slimnets", "slimtrain"}
_SERVICES = {"fastapi", "uvicorn", "redis", "grpc", "av", "slimedge"}


@pytest.mark.parametrize("command", ["encode", "inspect", "detect", "decode", "upgrade", "levels"])
def test_codec_commands_load_neither_torch_nor_services(
    toy_models: Path, picture: Path, tmp_path: Path, slimwire: Slimwire, command: str
) -> None:
    container = tmp_path / "a.slim"
    assert slimwire("encode", picture, "-o", container).code == 0
    arguments: dict[str, list[object]] = {
        "encode": [picture, "-o", tmp_path / "b.slim"],
        "inspect": [container],
        "detect": [container, "--overlay", tmp_path / "o.png"],
        "decode": [container, "-o", tmp_path / "o.png"],
        "upgrade": [container, picture, "-o", tmp_path / "e.slim"],
        "levels": [],
    }

    done = subprocess.run(
        [sys.executable, "-c", _RUN_AND_LIST, command, *map(str, arguments[command])],
        env=os.environ | {"SLIMWIRE_MODELS": str(toy_models), "SLIMWIRE_MODEL": "toy"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["code"] == 0, done.stderr
    assert not set(seen["loaded"]) & (_HEAVY | _SERVICES)


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["train", "codec", "--images", "{folder}"], "torch", "train"),
        (
            ["detector", "import", *("--cfg", "{file}", "--weights", "{file}", "--names", "{file}")]
            + ["--to", "models/a/1"],
            "torch",
            "train",
        ),
        (["edge", "--source", "a.mp4"], "grpc", "edge"),
        (["cloud"], "redis", "cloud"),
        (["demo"], "av", "demo"),
    ],
)
def test_a_missing_package_names_its_extra(
    toy_models: Path, tmp_path: Path, arguments: list[str], missing: str, extra: str
) -> None:
    (tmp_path / "file").touch()
    filled = [a.format(folder=tmp_path, file=tmp_path / "file") for a in arguments]
    hide = f"import sys; sys.modules[{missing!r}] = None\n"

    done = subprocess.run(
        [sys.executable, "-c", hide + _RUN_AND_LIST, *filled],
        env=os.environ | {"SLIMWIRE_MODELS": str(toy_models), "SLIMWIRE_MODEL": "toy"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout.splitlines()[-1])["code"] == ExitCode.UNAVAILABLE, done.stderr
    assert f"run: {how_to_install(extra)}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_of_a_service_are_named(
    slimwire: Slimwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_DEADLINE_SECONDS", "-5")
    monkeypatch.setenv("EDGE_DEADLNE_SECONDS", "5")

    outcome = slimwire("edge", "--source", "a.mp4")

    assert outcome.code == ExitCode.CONFIG
    assert "deadline_seconds (EDGE_DEADLINE_SECONDS)" in outcome.err
    assert (
        "EDGE_DEADLNE_SECONDS: unknown setting; did you mean EDGE_DEADLINE_SECONDS?" in outcome.err
    )


def test_every_setting_can_be_listed(slimwire: Slimwire) -> None:
    edge, cloud = slimwire("edge", "--settings"), slimwire("cloud", "--settings")

    assert (edge.code, cloud.code) == (0, 0)
    assert "EDGE_SOURCE: " in edge.out
    assert "(must be set)" in edge.out
    assert "CLOUD_REDIS_URL: " in cloud.out
