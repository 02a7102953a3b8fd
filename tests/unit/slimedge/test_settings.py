"""The settings of the edge."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from slimedge.settings import EdgeSettings
from slimops.errors import SettingsError
from slimops.settings import load_settings


def test_the_environment_sets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CLOUD_ADDRESS", "cloud:50051")
    monkeypatch.setenv("EDGE_ALLOW_PLAINTEXT", "true")
    monkeypatch.setenv("EDGE_SOURCE", "rtsp://camera/1")

    settings = load_settings(EdgeSettings)

    assert settings.cloud_address == "cloud:50051"
    assert settings.source == "rtsp://camera/1"


def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SOURCE", "a.mp4")
    monkeypatch.setenv("EDGE_DEADLINE", "5")

    with pytest.raises(SettingsError, match="EDGE_DEADLINE"):
        load_settings(EdgeSettings, environ={"EDGE_DEADLINE": "5"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cloud_address", "localhost"),
        ("camera_id", "a camera"),
        ("camera_id", "x" * 65),
        ("max_fps", 0),
        ("max_edge", 31),
        ("deadline_seconds", -1),
        ("expire_seconds", 0.999),  # below the deadline
        ("reconnect_max_seconds", 0.1),  # below the first bound
        ("key_seconds", 3600),  # the cloud refuses frames that descend from one so old
        ("http_port", 70_000),
        ("no_such_setting", 1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        EdgeSettings.model_validate({"source": "a.mp4", name: value})


@pytest.mark.parametrize("address", ["cloud:50051", "10.0.0.7:50051", "[fd00::7]:50051"])
def test_plaintext_beyond_loopback_is_refused_unless_told(address: str, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    values = {"source": "a.mp4", "cloud_address": address}

    with pytest.raises(ValidationError, match="beyond loopback and tls_ca is not set"):
        EdgeSettings.model_validate(values)

    EdgeSettings.model_validate({**values, "allow_plaintext": True})
    EdgeSettings.model_validate({**values, "tls_ca": ca})


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_plaintext_on_loopback_needs_no_word(address: str) -> None:
    EdgeSettings.model_validate({"source": "a.mp4", "cloud_address": address})


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()

    with pytest.raises(ValidationError, match="tls_cert and tls_key go together"):
        EdgeSettings.model_validate({"source": "a.mp4", "tls_key": tmp_path / "key.pem"})


def test_token_is_not_in_the_representation() -> None:
    settings = EdgeSettings(source="a.mp4", token="correct-horse-battery")

    assert "correct-horse" not in repr(settings)


@pytest.mark.parametrize(
    ("old", "new"),
    [("EDGE_DEADLINE_MS", "EDGE_DEADLINE_SECONDS"), ("EDGE_EXPIRE_MS", "EDGE_EXPIRE_SECONDS")],
)
def test_a_setting_in_milliseconds_is_refused_by_the_one_in_seconds(old: str, new: str) -> None:
    with pytest.raises(SettingsError, match=f"{old}: unknown setting; did you mean {new}"):
        load_settings(EdgeSettings, {"source": "a.mp4"}, environ={old: "1000"})


def test_zero_means_never() -> None:
    EdgeSettings(source="a.mp4", deadline_seconds=0, expire_seconds=0)
    EdgeSettings(source="a.mp4", deadline_seconds=60, expire_seconds=0)
