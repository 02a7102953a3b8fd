"""Settings from a configuration file, under the environment and arguments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import Field

from slimops.errors import SettingsError
from slimops.settings import CONFIG_VARIABLE, ServiceSettings, load_settings, read_config


class LampSettings(ServiceSettings):
    """Stands for a service that has the section `edge`."""

    env_prefix = "EDGE_"

    power_watts: float = Field(default=5.0, gt=0, le=100, description="power of the lamp, watts")
    colour: str = Field(default="white", pattern="^[a-z]+$", description="name of its colour")
    lit: bool = Field(default=False, description="whether it is on")


@pytest.fixture(autouse=True)
def _no_lamp_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDGE_")]:
        monkeypatch.delenv(name)


def _write(directory: Path, text: str) -> Path:
    path = directory / "lamp.yaml"
    path.write_text(text)
    return path


def _problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(LampSettings, config=path)
    return caught.value.problems


def test_file_is_under_the_environment_and_the_environment_under_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path, "edge:\n  power_watts: 7\n  colour: red\n  lit: true\n")
    monkeypatch.setenv("EDGE_COLOUR", "green")
    monkeypatch.setenv("EDGE_LIT", "false")

    loaded = load_settings(LampSettings, {"lit": True}, config=path)

    assert loaded.model_dump() == {"power_watts": 7.0, "colour": "green", "lit": True}
    assert loaded.origins == {
        "power_watts": f"{path}: edge.power_watts",
        "colour": "EDGE_COLOUR",
        "lit": "argument",
    }


def test_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(_write(tmp_path, "edge: {colour: red}")))

    assert load_settings(LampSettings).colour == "red"


def test_another_services_section_is_left_to_it(tmp_path: Path) -> None:
    path = _write(tmp_path, "cloud:\n  no_such_setting: 1\nedge:\n")

    assert load_settings(LampSettings, config=path) == LampSettings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("edge:\n  power_wat: 5\n", "edge.power_wat: unknown setting; did you mean power_watts?"),
        ("edge:\n  power_watts: 500\n", "edge.power_watts: Input should be less than or equal"),
        ("edge:\n  colour: 7\n", "edge.colour: Input should be a valid string"),
        ("egde:\n  colour: red\n", "egde: unknown section; expected cloud or edge"),
        ("edge: red\n", "edge: expected settings, one a line"),
        ("- edge\n", "expected the sections cloud and edge"),
        ("edge:\n  colour: red\n  colour: blue\n", "line 3: colour is there twice"),
        ("edge:\n  ? [colour]\n  : red\n", "line 2: found unhashable key"),
        ("edge:\n  colour: [red\n", "line 3: expected ',' or ']'"),
        ("edge:\n  colour: red\n  colour_file: /x\n", "edge.colour_file: colour is set, too"),
        ("edge:\n  colour_file: /nowhere\n", "edge.colour_file: cannot read /nowhere"),
    ],
)
def test_wrong_key_is_refused_with_its_path(tmp_path: Path, text: str, problem: str) -> None:
    path = _write(tmp_path, text)

    (told,) = _problems(path)

    assert told.startswith(str(path))
    assert problem in told


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = _write(tmp_path, "edge:\n  power_watts: -1\n  colour: RED\n  light: 3\n")

    assert len(_problems(path)) == 3


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot read"):
        read_config(tmp_path / "none.yaml")


def test_secret_is_read_from_the_file_that_a_key_names(tmp_path: Path) -> None:
    (tmp_path / "colour").write_text("green\n")
    path = _write(tmp_path, f"edge:\n  colour_file: {tmp_path / 'colour'}\n")

    assert load_settings(LampSettings, config=path).colour == "green"


def test_file_is_not_touched(tmp_path: Path) -> None:
    path = _write(tmp_path, "# mine\nedge: {lit: yes}\n")
    path.chmod(0o444)
    before = path.stat()

    load_settings(LampSettings, config=path)

    assert path.read_text() == "# mine\nedge: {lit: yes}\n"
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [entry.name for entry in tmp_path.iterdir()] == ["lamp.yaml"]
