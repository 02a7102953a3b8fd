"""The command as it is written into models and reports, which travel to other machines."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """What was typed, absolute paths as their last part."""
    return shlex.join(["slimwire", *(_without_place(argument) for argument in sys.argv[1:])])


def _without_place(argument: str) -> str:
    path = Path(argument)
    return path.name if path.is_absolute() else argument
