"""The command as it is written into models and reports, which travel to other machines."""

import shlex
import sys
from pathlib import Path


def command_line(program: str = "slimwire") -> str:
    """What was typed after the program's name, absolute paths as their last part."""
    arguments = shlex.join(_without_place(argument) for argument in sys.argv[1:])
    return f"{program} {arguments}".rstrip()


def _without_place(argument: str) -> str:
    path = Path(argument)
    return path.name if path.is_absolute() else argument
