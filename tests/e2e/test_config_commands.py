"""`slimwire config` and the services' own refusal of a wrong file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from slimcli.exits import ExitCode
from support.command import Slimwire

WHOLE = """\
cloud:
  role: detect
  redis_url: redis://worker:hunter2@redis:6379/0
edge:
  source: rtsp://viewer:hunter2@camera.example/1
  max_fps: 5
"""


@pytest.fixture(autouse=True)
def _no_settings_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("CLOUD_", "EDGE_", "SLIMWIRE_CONFIG"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "slimwire.yaml"
    path.write_text(WHOLE)
    return path


def test_check_says_that_a_good_file_is_in_order(whole: Path, slimwire: Slimwire) -> None:
    done = slimwire("config", "check", "--config", whole)

    assert done.code == ExitCode.OK
    assert done.out == ("cloud: in order, 2 settings given\nedge: in order, 2 settings given\n")
    assert whole.read_text() == WHOLE


def test_check_names_every_wrong_key_of_every_service(tmp_path: Path, slimwire: Slimwire) -> None:
    path = tmp_path / "slimwire.yaml"
    path.write_text("cloud: {max_batch_siz: 8}\nedge: {max_fps: 0}\n")

    done = slimwire("config", "check", "--config", path)

    assert done.code == ExitCode.CONFIG
    assert f"{path}: cloud.max_batch_siz: unknown setting; did you mean max_batch_size?" in done.err
    assert f"{path}: edge.max_fps: " in done.err
    assert "source (EDGE_SOURCE): Field required" in done.err


def test_the_cameras_of_a_list_are_checked_and_shown_each(
    tmp_path: Path, slimwire: Slimwire
) -> None:
    path, cameras = tmp_path / "slimwire.yaml", tmp_path / "cameras.yml"
    path.write_text(f"edge: {{cameras: {cameras}, max_fps: 5}}\n")
    cameras.write_text("cameras: [{id: gate, source: a}, {id: yard, source: b, max_fps: 1}]\n")

    checked = slimwire("config", "check", "--config", path)
    shown = slimwire("config", "show", "--config", path)
    cameras.write_text("cameras: [{id: gate, source: a, max_fsp: 1}]\n")
    refused = slimwire("edge", "--cameras", cameras)

    assert checked.out.count("edge: in order") == 2
    assert f"max_fps: 5.0  # {path}: edge.max_fps" in shown.out
    assert f"max_fps: 1.0  # {cameras}: yard.max_fps" in shown.out
    assert refused.code == ExitCode.CONFIG
    assert f"{cameras}: gate.max_fsp: unknown setting; did you mean max_fps?" in refused.err


def test_show_masks_secrets_and_says_where_values_come_from(
    whole: Path, slimwire: Slimwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_MAX_FPS", "7.5")

    done = slimwire("config", "show", "--config", whole)

    assert done.code == ExitCode.OK
    assert "hunter2" not in done.out
    assert f'  role: "detect"  # {whole}: cloud.role\n' in done.out
    assert "  max_fps: 7.5  # EDGE_MAX_FPS\n" in done.out
    assert "  max_cameras: 300  # default\n" in done.out
    shown = yaml.safe_load(done.out)
    assert shown["cloud"]["redis_url"] == "redis://worker:********@redis:6379/0"
    assert shown["edge"]["source"] == "rtsp://viewer:********@camera.example/1"


def test_schema_describes_the_file(slimwire: Slimwire) -> None:
    schema = json.loads(slimwire("config", "schema").out)

    assert schema["additionalProperties"] is False
    cloud = schema["properties"]["cloud"]
    assert cloud["additionalProperties"] is False
    assert cloud["properties"]["max_batch_size"]["maximum"] == 64
    assert set(schema["properties"]) == {"cloud", "edge"}


def test_config_without_file_and_service_says_what_to_give(slimwire: Slimwire) -> None:
    done = slimwire("config", "show")

    assert done.code == ExitCode.USAGE
    assert "--service" in done.err


@pytest.mark.parametrize("service", ["cloud", "edge"])
def test_service_does_not_start_with_an_unknown_key(
    service: str, tmp_path: Path, slimwire: Slimwire
) -> None:
    path = tmp_path / "slimwire.yaml"
    path.write_text(f"{service}: {{sauce: camera}}\n")

    done = slimwire(service, "--config", path)

    assert done.code == ExitCode.CONFIG
    assert f"{path}: {service}.sauce: unknown setting" in done.err
