"""What `slimwire` can do: every command, in the order in which the help lists them."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from slimcli import completion
from slimcli.demo import command as demo
from slimcli.exits import DEBUG_VARIABLE
from slimcli.files import decode, detect, encode, inspect, levels, upgrade
from slimcli.run import certificates, configuration, health, services, tokens
from slimcli.train import calibrate, codec_and_detector, evaluate, export, make_model, recipes

app = typer.Typer(
    name="slimwire",
    help="What a machine needs to see, and the picture only when a person asks.",
    no_args_is_help=True,
    add_completion=False,  # `slimwire completion`; these options would load pydantic every time
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help texts have [brackets] of their own, and rich takes its time
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

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
    detect,
    encode,
    decode,
    upgrade,
    inspect,
    levels,
    demo,
    services,
    configuration,
    certificates,
    tokens,
    health,
    recipes,
    codec_and_detector,
    evaluate,
    calibrate,
    export,
    make_model,
    completion,
):
    module.register(app)
