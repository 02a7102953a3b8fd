"""The advice to install an extra names where this program came from, not a name of an index."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from slimops.installation import how_to_install


def _came_from(monkeypatch: pytest.MonkeyPatch, told: object | None) -> list[str]:
    text = None if told is None else json.dumps(told)
    found = SimpleNamespace(read_text=lambda name: text)
    monkeypatch.setattr("slimops.installation.distribution", lambda name: found)
    monkeypatch.setattr(sys, "executable", "/venv/bin/python")
    return how_to_install("certs").split(" ", 4)


def test_an_editable_checkout_is_named_by_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"url": "file:///home/me/my%20slimwire", "dir_info": {"editable": True}}

    command = _came_from(monkeypatch, told)

    assert command == [
        "/venv/bin/python",
        "-m",
        "pip",
        "install",
        "-e '/home/me/my slimwire[certs]'",
    ]


def test_a_wheel_is_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"url": "file:///tmp/slimwire-0.1.0-py3-none-any.whl", "archive_info": {}}

    requirement = Requirement(_came_from(monkeypatch, told)[-1].strip("'"))

    assert (requirement.name, requirement.extras, requirement.url) == (
        "slimwire",
        {"certs"},
        told["url"],
    )


def test_an_index_that_had_it_has_its_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _came_from(monkeypatch, None)[-1] == "'slimwire[certs]'"


def test_a_source_tree_that_nobody_installed_is_installed_from_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("slimops.installation.distribution", missing)

    assert how_to_install("edge").endswith("-m pip install -e '.[edge]'")
