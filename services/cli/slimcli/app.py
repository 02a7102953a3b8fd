"""The process of `slimwire`, and the one place where errors become messages.

The commands and what they need are loaded inside the `try`: an interrupt in the first second is one
like any other.
"""

import os
import sys
from collections.abc import Sequence


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code, with any error told on standard error."""
    try:
        from slimcli.commands import app
        from slimcli.completion import let_shells_ask

        let_shells_ask()
        return int(app(list(arguments), prog_name="slimwire", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        return 130  # ExitCode.INTERRUPTED, which may not be loaded yet
    except SystemExit as end:  # typer's answer to a reader (`head`, say) that has gone
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from slimcli.exits import wants_traceback

        if wants_traceback():
            raise
        return _tell(error)


def _tell(error: Exception) -> int:
    from slimcli.exits import exit_code_of, message_of

    message = message_of(error)
    is_help = message.startswith("Usage: ")  # of a group, for want of a command
    if message:
        sys.stderr.write(f"{'' if is_help else 'error: '}{message}\n")
    return int(exit_code_of(error))
