"""Several inputs: a failure of one is told when it happens, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from slimcli.exits import ExitCode, exit_code_of, message_of, wants_traceback


class Failures:
    """Remembers the first failure, which decides the exit code."""

    def __init__(self) -> None:
        self._first: ExitCode | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around the work on one input: an error that has an exit code ends this input only."""
        try:
            yield
        except BrokenPipeError:
            raise
        except Exception as error:
            code = exit_code_of(error)
            if code is ExitCode.INTERNAL or wants_traceback():
                raise
            typer.echo(f"error: {message_of(error)}", err=True)
            self._first = self._first or code

    def end(self) -> None:
        """End the command with the code of the first failure, if there was one."""
        if self._first is not None:
            raise typer.Exit(self._first)
