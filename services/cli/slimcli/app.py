"""The `slimwire` command: its groups, and the one place where errors become messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from slimcli.demo import command as demo
from slimcli.exits import ExitCode, exit_code_of, message_of
from slimcli.files import codec, detect, levels
from slimcli.files import inspect as inspection
from slimcli.run import certificates, configuration, health, services, tokens
from slimcli.train import calibrate as calibration
from slimcli.train import codec_and_detector as training
from slimcli.train import evaluate as evaluation
from slimcli.train import export as making
from slimcli.train import make_model as own_detector
from slimcli.train import recipes

DEBUG_VARIABLE = "SLIMWIRE_DEBUG"  # as --debug: show tracebacks

app = typer.Typer(
    name="slimwire",
    help="What a machine needs to see, and the picture only when a person asks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"slimwire {version('slimwire')}")
        except PackageNotFoundError:  # run from a source tree that nobody installed
            typer.echo("slimwire (not installed)")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG_VARIABLE, help="Show tracebacks of errors.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    """What a machine needs to see, and the picture only when a person asks."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


for module in (
    codec,
    inspection,
    detect,
    levels,
    demo,
    services,
    configuration,
    certificates,
    tokens,
    health,
    recipes,
    training,
    evaluation,
    calibration,
    making,
    own_detector,
):
    module.register(app)


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code, with any error told on standard error."""
    try:
        code = app(list(arguments), prog_name="slimwire", standalone_mode=False)
    except BrokenPipeError:  # the reader (`head`, say) has gone: nothing to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        code = exit_code_of(error)
        message = message_of(error)
        if message:
            typer.echo(f"error: {message}", err=True)
    return int(code or ExitCode.OK)
