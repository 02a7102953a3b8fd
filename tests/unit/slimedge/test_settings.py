"""The settings of the edge."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from slimedge.settings import EdgeSettings
from slimops import SettingsError, load_settings


def test_the_environment_sets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CLOUD_ADDRESS", "cloud:50051")
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
        ("camera_id", "a camera"),
        ("camera_id", "x" * 65),
        ("max_fps", 0),
        ("max_edge", 31),
        ("deadline_ms", -1),
        ("expire_ms", 999),  # below the deadline
        ("reconnect_max_seconds", 0.1),  # below the first bound
        ("http_port", 70_000),
        ("no_such_setting", 1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        EdgeSettings.model_validate({"source": "a.mp4", name: value})


def test_zero_means_no_deadline_and_no_expiry() -> None:
    settings = EdgeSettings(source="a.mp4", deadline_ms=0, expire_ms=0)

    assert settings.deadline_seconds is None
    assert settings.expire_seconds is None
