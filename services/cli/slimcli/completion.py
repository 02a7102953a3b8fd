"""`slimwire completion`: what a shell needs to complete commands and options."""

import os
from typing import Annotated, Literal

import typer
from typer.completion import (  # type: ignore[attr-defined]  # typer re-exports without saying so
    completion_init,
    get_completion_script,
)

from slimcli.streams import say

VARIABLE = "_SLIMWIRE_COMPLETE"  # by which a shell asks for completions


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose.")],
) -> None:
    """Print what makes a shell complete commands and options.

    bash: eval "$(slimwire completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, after
    compinit; fish: slimwire completion fish > ~/.config/fish/completions/slimwire.fish
    """
    say(get_completion_script(prog_name="slimwire", complete_var=VARIABLE, shell=shell))


def let_shells_ask() -> None:
    """Answer a shell in the form that its script expects; where none asks, nothing."""
    if VARIABLE in os.environ:
        completion_init()
