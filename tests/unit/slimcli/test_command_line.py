"""The command that models and reports carry."""

from __future__ import annotations

import sys

import pytest

from slimcli.command_line import command_line


def test_written_command_names_no_place_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["/usr/bin/slimwire", "evaluate", "--images", "/home/me/street", "--out", "runs/a b"]
    monkeypatch.setattr(sys, "argv", typed)

    assert command_line() == "slimwire evaluate --images street --out 'runs/a b'"
