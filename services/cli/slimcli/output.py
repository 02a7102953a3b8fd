"""Files that this command writes: whole or not at all, and never over another by accident."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from slimcli.exits import OutputExistsError


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    Args:
        path: where the result belongs; its suffix is kept, since writers choose formats by it.
        force: replace a file that is there.

    Raises:
        OutputExistsError: `path` exists and `force` is false (checked before any work is done,
            and again before the rename).
    """
    refuse_existing(path, force=force)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        refuse_existing(path, force=force)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputExistsError` where writing `path` would lose a file."""
    if path.exists() and not force:
        raise OutputExistsError(path)


def write_bytes(path: Path, data: bytes, *, force: bool) -> None:
    """Write `data` to `path` in one step."""
    with new_file(path, force=force) as temporary:
        temporary.write_bytes(data)


def say(text: str = "") -> None:
    """One line for a person, on standard output."""
    typer.echo(text)


def say_json(value: object) -> None:
    """One line of JSON, on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
