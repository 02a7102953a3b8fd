"""docs/commands.md and docs/develop/training-commands.md, written from the commands themselves.

PYTHONPATH=tests python -m support.command_page
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from slimcli.commands import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {
    DOCS / "commands.md": """# Commands

One program; `--help` behind any command says the same, for this page is written from it by
`tests/support/command_page.py`. [Start](start.md) explains level and quality,
[trouble](trouble.md) the exit codes. Settings of `edge` and `cloud` that have no option:
[camera](camera.md#settings), [cloud](cloud.md#settings). What trains and measures a model, step by
step: [commands of training](develop/training-commands.md).
""",
    DOCS / "develop" / "training-commands.md": """# Commands of training

As [commands](../commands.md), for the steps of [training](training.md). They need the extra
`train`.
""",
}
_OF_TRAINING = ("detector", "evaluate", "export", "make-model", "recipes", "tabulate", "train")
_SHARED_BY = 3  # commands: an option that says the same in so many stands once, at the end


def render_page(page: Path) -> str:
    """A page as it should be."""
    commands = [
        (name, command)
        for name, command in _commands(typer.main.get_command(app), "slimwire")
        if (name.split()[1] in _OF_TRAINING) == ("training" in page.stem)
    ]
    counts = Counter(_line(option) for _, command in commands for option in _options(command))
    shared = [line for line, count in counts.items() if count >= _SHARED_BY]
    parts = [PAGES[page]]
    for name, command in commands:
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        parts.append(f"## {' '.join([name, *map(_metavar, arguments)])}\n")
        parts.append(f"{_prose(command.help)}\n")
        lines = [f"- `{_metavar(a)}`: {_prose(a.help)}" for a in arguments]
        lines += [line for line in map(_line, _options(command)) if line not in shared]
        also = [f"`{_names(o)[0]}`" for o in _options(command) if _line(o) in shared]
        if also:
            lines.append(f"- {', '.join(also)}")
        if lines:
            parts.append("\n".join(lines) + "\n")
    parts.append("## Options of many commands\n\n" + "\n".join(shared) + "\n")
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name (click's types are typer's own)."""
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from _commands(inner, f"{name} {word}")
    elif not command.hidden:
        yield name, command


def _options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and not p.hidden]


def _line(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in _names(option))
    value = "" if option.is_flag else f" {_metavar(option)}"
    return f"- {names}{value}: {_prose(option.help)}{_default(option)}"


def _names(option: Any) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(choice.value) for choice in kind)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return "N" if kind in (int, float) else "NAME"


def _default(option: Any) -> str:
    value = option.default
    if option.is_flag or value is None or value == [] or callable(value):
        return ""
    return f" Default: {value.value if isinstance(value, enum.Enum) else value}."


def _prose(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


if __name__ == "__main__":
    for written in PAGES:
        written.write_text(render_page(written), encoding="utf-8")
