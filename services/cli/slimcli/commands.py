"""What `slimwire` can do: every command, in the order in which the help lists them."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from slimcli.completion import completion
from slimcli.demo.command import demo
from slimcli.exits import DEBUG_VARIABLE
from slimcli.files.container import decode, encode, inspect_container, upgrade
from slimcli.files.detect import detect
from slimcli.files.levels import levels
from slimcli.run.configuration import configuration
from slimcli.run.edge_and_cloud import cloud, edge, process
from slimcli.run.health import health
from slimcli.run.security import certs, token
from slimcli.train.calibrate import calibrate, calibrate_scores
from slimcli.train.evaluate import evaluate
from slimcli.train.make import detector_import, export, make_model
from slimcli.train.tabulate import tabulate
from slimcli.train.train import (
    recipes,
    train_codec,
    train_detector,
    train_preview,
    train_tail,
    train_triage,
)

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


_COMMANDS: dict[str, Callable[..., None]] = {
    "detect": detect,
    "encode": encode,
    "decode": decode,
    "upgrade": upgrade,
    "inspect": inspect_container,
    "levels": levels,
    "demo": demo,
    "edge": edge,
    "process": process,
    "cloud": cloud,
    "certs": certs,
    "token": token,
    "health": health,
    "recipes": recipes,
    "evaluate": evaluate,
    "calibrate": calibrate,
    "export": export,
    "make-model": make_model,
    "tabulate": tabulate,
    "completion": completion,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)

app.add_typer(configuration, name="config")

training = typer.Typer(help="Train a codec, a detector, or a codec's cloud.", no_args_is_help=True)
training.command("codec")(train_codec)
training.command("detector")(train_detector)
training.command("triage")(train_triage)
training.command("preview")(train_preview)
training.command("tail")(train_tail)
app.add_typer(training, name="train")

detectors = typer.Typer(help="A detector of others' files; what scores mean.", no_args_is_help=True)
detectors.command("import")(detector_import)
detectors.command("calibrate")(calibrate_scores)
app.add_typer(detectors, name="detector")
