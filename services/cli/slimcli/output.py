"""Files that this command writes: whole or not at all, and never over another by accident."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from slimcli.exits import OutputExistsError


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse what could not be written in the end, before any work is done.

    Raises:
        OutputExistsError: a file would be lost, and `force` is false.
        OSError: `path` is a folder, or in none that exists.
    """
    from slimcodec.whole_file import is_replaceable

    if is_replaceable(path) and path.exists() and not force:
        raise OutputExistsError(path)


def write_bytes(path: Path, data: bytes, *, force: bool) -> None:
    """Write `data` to `path` in one step; what is no file, as /dev/stdout, is written straight.

    Raises:
        OutputExistsError: a file appeared there meanwhile, and `force` is false.
    """
    from slimcodec.whole_file import write_whole

    refuse_existing(path, force=force)
    write_whole(path, data)


def say(text: str = "") -> None:
    """One line for a person, on standard output."""
    typer.echo(text)


def say_json(value: object) -> None:
    """One line of JSON, on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
