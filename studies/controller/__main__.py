"""`python -m studies.controller`: the study's commands, which end as those of `slimwire` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from slimcli.exits import ExitCode, exit_code_of, message_of
from studies.controller.commands import record, simulate, tune
from studies.controller.errors import StudyError

app = typer.Typer(
    name="python -m studies.controller",
    help="The edge's controller and its rivals, over links in simulated time.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (simulate, record, tune):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code, with any error told on standard error."""
    try:
        code = app(list(arguments), prog_name=app.info.name, standalone_mode=False)
    except StudyError as error:
        typer.echo(f"error: {error}", err=True)
        return ExitCode.BAD_DATA
    except (Exception, KeyboardInterrupt) as error:
        if exit_code_of(error) is ExitCode.INTERNAL:
            raise
        typer.echo(f"error: {message_of(error)}", err=True)
        return exit_code_of(error)
    return int(code or ExitCode.OK)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
