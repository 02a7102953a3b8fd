"""`slimwire token`: a new token, and the line of the cloud's table that lets it in."""

from __future__ import annotations

from typing import Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.extras import needs_extra
from slimcli.output import say
from slimcloud.roles import AccessRole


def register(app: typer.Typer) -> None:
    app.command()(token)


def token(
    role: Annotated[AccessRole, typer.Argument(help="What it is good for.")],
    name: Annotated[str, typer.Argument(help="Whose it is; of a camera: its id.")],
) -> None:
    """Print a new token. On standard error: its line for the file of CLOUD_TOKENS_FILE."""
    with needs_extra("cloud", "token"):
        from slimcloud.tokens import TokenTable, make_token, token_digest

    made = make_token()
    line = f"{role.value} {name} {token_digest(made)}"
    try:
        TokenTable.parse(line)
    except ValueError as exc:
        raise BadUsageError(str(exc)) from exc
    say(made)
    typer.echo(line, err=True)
