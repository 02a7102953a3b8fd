"""What a command loads before it is needed: modules are counted here, not seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from slimcli.app import run
from slimcli.commands import app
from slimcli.exits import ExitCode
from support.command import Slimwire

# Half of these take longer to load than everything that a help page needs.
_HEAVY = {"numpy", "pydantic", "PIL", "openvino", "constriction", "rich", "asyncio", "ssl"}

# Runs command lines, one JSON list a line of stdin, and prints what each has loaded.
_RUN_AND_LIST = """
import json, sys
from slimcli.app import run
for line in sys.stdin:
    code = run(json.loads(line))
    print("\\nloaded", json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
_INTERRUPT = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.argv = ["slimwire", "inspect", "nowhere.slim"]
from slimcli.app import main
main()
"""


def _run(*lines: list[str]) -> Iterator[tuple[int, set[str]]]:
    """Exit code and loaded packages after each command line, all in one fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN_AND_LIST],
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if line.startswith("loaded "):
            code, loaded = json.loads(line.removeprefix("loaded "))
            yield code, set(loaded)


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the tree, groups included."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))


COMMANDS = list(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([*path, "--help"])

    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert f"Usage: {' '.join(('slimwire', *path))} " in said.out


def test_no_line_of_a_list_of_commands_is_cut(slimwire: Slimwire) -> None:
    for group in ([], ["train"], ["detector"], ["config"]):
        _, _, commands = slimwire(*group, "--help").out.partition("Commands:")

        assert commands
        assert "..." not in commands


def test_what_stands_in_brackets_is_shown(slimwire: Slimwire) -> None:
    assert "grpc[s]://host:port[/service]" in slimwire("health", "--help").out
    assert "[default: 1000]" in " ".join(slimwire("demo", "--help").out.split())


def test_help_and_version_load_nothing_heavy() -> None:
    lines = [["--version"], *([*path, "--help"] for path in COMMANDS)]

    for (code, loaded), line in zip(_run(*lines), lines, strict=True):
        assert code == 0, line
        # typer checks arguments by pydantic: from the second word on, it is there
        allowed = {"pydantic"} if len(line) > 1 else set()
        assert not loaded & (_HEAVY - allowed), line


def test_inspect_loads_no_array_and_no_model(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    container = tmp_path / "a.slim"
    assert slimwire("encode", picture, "-o", container).code == 0

    [(code, loaded)] = _run(["inspect", str(container)])

    assert code == 0
    assert not loaded & (_HEAVY - {"pydantic"})


@pytest.mark.parametrize("name", ["slimcli.commands", "typer", "slimcodec.container"])
def test_an_interrupt_while_modules_load_shows_no_traceback(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPT.format(name=name)], capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, b"")


def test_a_reader_that_has_gone_is_no_error(toy_models: Path) -> None:
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, "-m", "slimcli", "levels", "--model", "toy", "--models", str(toy_models)],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(slimwire: Slimwire, shell: str) -> None:
    script = slimwire("completion", shell)

    assert script.code == 0
    assert f"_SLIMWIRE_COMPLETE=complete_{shell}" in script.out


def test_what_the_shell_asks_for_is_answered() -> None:
    asked = {"COMP_WORDS": "slimwire enc", "COMP_CWORD": "1", "_SLIMWIRE_COMPLETE": "complete_bash"}

    done = subprocess.run(
        [sys.executable, "-m", "slimcli"],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "encode\n", "")
