"""The reading map of docs/develop/architecture.md leads to functions that exist."""

from __future__ import annotations

import importlib
import inspect
import re
from operator import attrgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "docs" / "develop" / "architecture.md"

_STOP = re.compile(r"^\| `([a-z_.0-9]+):([A-Za-z_.]+)` \| (\S.*) \|$", re.MULTILINE)
_MOST_LINES = 900  # read in twenty minutes

STOPS = _STOP.findall(MAP.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, n, _ in STOPS])
def test_every_stop_is_a_function(module: str, name: str) -> None:
    function = attrgetter(name)(importlib.import_module(module))

    assert inspect.isfunction(function), f"{module}:{name}"


def test_every_row_of_the_map_is_a_stop() -> None:
    section = MAP.read_text(encoding="utf-8").partition("## The reading map")[2].partition("\n## ")
    rows = [line for line in section[0].splitlines() if line.startswith("| `")]

    assert len(rows) == len(STOPS) >= 25


def test_the_map_is_read_in_twenty_minutes() -> None:
    lines = 0
    for module, name, _ in STOPS:
        function = attrgetter(name)(importlib.import_module(module))
        lines += len(inspect.getsource(function).splitlines())

    assert lines <= _MOST_LINES
