from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from slimops.errors import SettingsError
from slimops.settings import ServiceSettings, load_settings


class LampSettings(ServiceSettings):
    env_prefix = "LAMP_"

    power_watts: float = Field(default=5.0, gt=0, le=100, description="power of the lamp, watts")
    colour: str = Field(default="white", pattern="[a-z]+", description="name of its colour")


@pytest.fixture(autouse=True)
def _no_lamp_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAMP_")]:
        monkeypatch.delenv(name)


def test_environment_sets_a_value_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_POWER_WATTS", "7")
    monkeypatch.setenv("LAMP_COLOUR", "red")

    settings = load_settings(LampSettings, {"colour": "blue"})

    assert settings.power_watts == 7.0
    assert settings.colour == "blue"


def test_wrong_value_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_POWER_WATTS", "500")

    with pytest.raises(SettingsError, match=r"power_watts \(LAMP_POWER_WATTS\): .*100"):
        load_settings(LampSettings)


def test_unknown_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_POWER_WAT", "5")

    with pytest.raises(SettingsError, match=r"LAMP_POWER_WAT: unknown.*LAMP_POWER_WATTS"):
        load_settings(LampSettings)


def test_another_programs_variable_with_our_prefix_is_passed_over() -> None:
    class CloudySettings(ServiceSettings):
        env_prefix = "CLOUD_"

        role: str = Field(default="all", description="what it does")

    others = {
        "CLOUD_SDK_VERSION": "528.0.0",
        "CLOUD_RUN_JOB": "nightly",
        "CLOUD_RUN_TASK_INDEX": "0",
        "CLOUD_SERVICE_HOST": "10.0.0.1",
        "CLOUD_SERVICE_PORT_GRPC": "50051",
        "CLOUD_PORT": "tcp://10.0.0.1:80",
        "CLOUD_PORT_80_TCP_ADDR": "10.0.0.1",
    }

    settings = load_settings(CloudySettings, environ=others)

    assert settings.role == "all"
    with pytest.raises(SettingsError, match="CLOUD_PORT: unknown"):
        load_settings(CloudySettings, environ={"CLOUD_PORT": "8080"})


def test_variable_without_a_value_is_not_set() -> None:
    settings = load_settings(LampSettings, environ={"LAMP_POWER_WATTS": "", "LAMP_COLOUR_FILE": ""})

    assert settings == LampSettings()
    with pytest.raises(SettingsError, match="LAMP_POWER: unknown"):
        load_settings(LampSettings, environ={"LAMP_POWER": ""})


def test_unknown_argument_is_refused_with_its_name() -> None:
    with pytest.raises(SettingsError, match="brightness"):
        load_settings(LampSettings, {"brightness": 3})


def test_value_is_read_from_the_file_that_a_variable_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "colour").write_text("green\n")
    monkeypatch.setenv("LAMP_COLOUR_FILE", str(tmp_path / "colour"))

    settings = load_settings(LampSettings)

    assert settings.colour == "green"
    assert settings.files == {"colour": tmp_path / "colour"}  # it may be looked at again
    assert load_settings(LampSettings, {"colour": "red"}).files == {}


def test_missing_file_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_COLOUR_FILE", "/nowhere/at/all")

    with pytest.raises(SettingsError, match="LAMP_COLOUR_FILE: cannot read"):
        load_settings(LampSettings)


def test_refusal_does_not_show_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_COLOUR", "SECRET-42")

    with pytest.raises(SettingsError) as caught:
        load_settings(LampSettings)

    assert "SECRET" not in str(caught.value)


def test_settings_are_frozen() -> None:
    settings = load_settings(LampSettings)

    with pytest.raises(ValidationError, match="frozen"):
        settings.colour = "red"
