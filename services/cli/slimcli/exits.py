"""How the command ends: one table from error to exit code, one line for the person.

The codes are those of sysexits.h, so scripts can tell bad data (65) from a missing file (66)
and from a wrong setting (78).

    CliError
    +-- BadUsageError         options that do not go together            64
    +-- OutputExistsError     refuses to overwrite                       73
    +-- MissingExtraError     an optional dependency is not installed    69
    +-- UnavailableError      a service does not answer, or is not well  69
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from pathlib import Path

import typer

DEBUG_VARIABLE = "SLIMWIRE_DEBUG"  # as --debug: show tracebacks


class ExitCode(enum.IntEnum):
    """What the shell sees."""

    OK = 0
    USAGE = 64
    BAD_DATA = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    CANNOT_CREATE = 73
    IO = 74
    CONFIG = 78
    INTERRUPTED = 130


class CliError(Exception):
    """Base of what this package raises."""

    exit_code = ExitCode.INTERNAL


class BadUsageError(CliError):
    exit_code = ExitCode.USAGE


class OutputExistsError(CliError):
    exit_code = ExitCode.CANNOT_CREATE

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists; use --force to replace it, or another name")
        self.path = path


class MissingExtraError(CliError):
    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, command: str, module: str, extra: str) -> None:
        from slimops.installation import how_to_install

        super().__init__(
            f"`slimwire {command}` needs {module}, which is not installed; "
            f"run: {how_to_install(extra)}"
        )
        self.module = module
        self.extra = extra


class UnavailableError(CliError):
    exit_code = ExitCode.UNAVAILABLE


def wants_traceback() -> bool:
    """Whether errors are to be shown as they are."""
    return bool(os.environ.get(DEBUG_VARIABLE))


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for an error; `INTERNAL` for one that nobody foresaw."""
    if isinstance(error, CliError):
        return error.exit_code
    for matches, code in _TABLE:
        if matches(error):
            return code
    return ExitCode.INTERNAL


def message_of(error: BaseException) -> str:
    """What a person reads after `error: `; never a traceback."""
    if isinstance(error, typer.TyperException):
        return _usage_message(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror.lower()}"
    if _is_settings_error(error):
        return _settings_message(error)
    text = str(error) or type(error).__name__
    if exit_code_of(error) is ExitCode.INTERNAL:
        return (
            f"internal error: {type(error).__name__}: {text}; "
            "run `slimwire --debug ...` for the traceback"
        )
    return text


def _usage_message(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where its help is; nothing if help was shown."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or message.startswith("Usage: "):
        return message
    return f"{message.rstrip('.')}; see `{context.command_path} --help`"


def _is_named(*names: str) -> Callable[[BaseException], bool]:
    """Match by the names of the error's classes: the table must not import their packages."""
    return lambda error: any(base.__name__ in names for base in type(error).__mro__)


def _is_settings_error(error: BaseException) -> bool:
    return _is_named("ValidationError")(error) and hasattr(error, "errors")


def _settings_message(error: BaseException) -> str:
    """`EdgeSettings: deadline_seconds: Input should be greater than 0; ...`."""
    details = error.errors()  # type: ignore[attr-defined]  # pydantic's, checked by the caller
    problems = (
        f"{'.'.join(map(str, d['loc'])) or 'value'}: {d['msg'].removeprefix('Value error, ')}"
        for d in details
    )
    return f"{getattr(error, 'title', 'settings')}: {'; '.join(problems)}"


_INPUT_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)

# First match wins: leaves before their bases. See the trees in each package's errors.py.
_TABLE: tuple[tuple[Callable[[BaseException], bool], ExitCode], ...] = (
    (lambda error: isinstance(error, KeyboardInterrupt | typer.Abort), ExitCode.INTERRUPTED),
    (lambda error: isinstance(error, typer.TyperException), ExitCode.USAGE),
    (
        _is_named(
            "SettingsError", "ModelError", "ModelMismatchError", "DetectError", "RecipeError"
        ),
        ExitCode.CONFIG,
    ),
    (_is_settings_error, ExitCode.CONFIG),
    (lambda error: type(error).__name__ == "CodecError", ExitCode.USAGE),  # no such level, say
    (
        _is_named("CodecError", "NetError", "PictureError", "EvaluationError", "TraceError"),
        ExitCode.BAD_DATA,
    ),
    (_is_named("CalibrationError", "LoopError", "TailError"), ExitCode.USAGE),
    (_is_named("ArtifactFolderError"), ExitCode.CANNOT_CREATE),
    (_is_named("CameraError"), ExitCode.NO_INPUT),
    (_is_named("EdgeError", "ControlError", "CloudError", "OpsError"), ExitCode.UNAVAILABLE),
    (lambda error: isinstance(error, _INPUT_ERRORS), ExitCode.NO_INPUT),
    (lambda error: isinstance(error, OSError), ExitCode.IO),
)
