"""How the command ends: one table from error to exit code, one line for the person.

The codes are those of sysexits.h, so scripts can tell bad data (65) from a missing file (66)
and from a wrong setting (78).

    BadUsageError       options that do not go together                                      64
    UnavailableError    a service is not well, or what a command needs is not installed      69
"""

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager

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


class BadUsageError(Exception):
    """Options that do not go together."""


class UnavailableError(Exception):
    """A service does not answer or is not well, or something is not installed."""


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Around the imports of a command: a package that is missing is named with its extra.

    Raises:
        UnavailableError: a package of others is not installed; one of ours missing is a bug, and
            stays a `ModuleNotFoundError`.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if not package or package.startswith("slim"):
            raise
        from slimops.installation import how_to_install

        raise UnavailableError(
            f"`slimwire {command}` needs {package}, which is not installed; "
            f"run: {how_to_install(extra)}"
        ) from exc


def wants_traceback() -> bool:
    """Whether errors are to be shown as they are."""
    return bool(os.environ.get(DEBUG_VARIABLE))


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for an error; `INTERNAL` for one that nobody foresaw."""
    names = (base.__name__ for base in type(error).__mro__)
    return next((_CODES[name] for name in names if name in _CODES), ExitCode.INTERNAL)


@contextmanager
def about(source: object) -> Iterator[None]:
    """Around the work on one input: its name comes before the message of bad data."""
    try:
        yield
    except Exception as error:
        if exit_code_of(error) is ExitCode.BAD_DATA and not str(error).startswith(f"{source}:"):
            error.add_note(str(source))
        raise


def message_of(error: BaseException) -> str:
    """What a person reads after `error: `; never a traceback."""
    named = getattr(error, "__notes__", ())  # by `about`
    return ": ".join([*named[:1], _message_of(error)])


def _message_of(error: BaseException) -> str:
    if isinstance(error, typer.TyperException):
        return _usage_message(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror.lower()}"
    if type(error).__name__ == "ValidationError":
        return _settings_message(error)
    text = str(error) or type(error).__name__
    if exit_code_of(error) is ExitCode.INTERNAL:
        return (
            f"internal error: {type(error).__name__}: {text}; "
            "run `slimwire --debug ...` for the traceback"
        )
    return text


class Failures:
    """Of several inputs: each is told when it happens; the first one decides the exit code."""

    def __init__(self) -> None:
        self._first: ExitCode | None = None

    @contextmanager
    def kept(self, source: str) -> Iterator[None]:
        """Around the work on one input: an error that has an exit code ends this input only."""
        try:
            with about(source):
                yield
        except BrokenPipeError:
            raise
        except Exception as error:
            code = exit_code_of(error)
            if code is ExitCode.INTERNAL or wants_traceback():
                raise
            self.tell(message_of(error), code)

    def tell(self, message: str, code: ExitCode = ExitCode.BAD_DATA) -> None:
        """Tell of an input, or a part of one, that was passed over."""
        typer.echo(f"error: {message}", err=True)
        self._first = self._first or code

    def end(self) -> None:
        """End the command with the code of the first failure, if there was one."""
        if self._first is not None:
            raise typer.Exit(self._first)


def _usage_message(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where its help is; nothing if help was shown."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or message.startswith("Usage: "):
        return message
    return f"{message.rstrip('.')}; see `{context.command_path} --help`"


def _settings_message(error: BaseException) -> str:
    """`EdgeSettings: deadline_seconds: Input should be greater than 0; ...`."""
    details = error.errors()  # type: ignore[attr-defined]  # pydantic's
    problems = (
        f"{'.'.join(map(str, d['loc'])) or 'value'}: {d['msg'].removeprefix('Value error, ')}"
        for d in details
    )
    return f"{getattr(error, 'title', 'settings')}: {'; '.join(problems)}"


# By the names of classes, for their packages are not imported here; the nearest base counts. See
# the trees in each errors.py.
_ERRORS = {
    ExitCode.USAGE: "BadUsageError TyperException CalibrationError LoopError TailError "
    "OtherDetectorError CodecError",  # CodecError itself, none of its leaves: no such level, say
    ExitCode.BAD_DATA: "BitstreamError ImageError NetError PictureError EvaluationError TraceError",
    ExitCode.NO_INPUT: "FileNotFoundError IsADirectoryError NotADirectoryError PermissionError "
    "CameraError",
    ExitCode.UNAVAILABLE: "UnavailableError EdgeError ControlError CloudError OpsError",
    ExitCode.CANNOT_CREATE: "FileExistsError ArtifactFolderError",
    ExitCode.IO: "OSError",
    ExitCode.CONFIG: "SettingsError ModelError ModelMismatchError RecipeError ValidationError",
    ExitCode.INTERRUPTED: "KeyboardInterrupt Abort StoppedError",
}
_CODES = {name: code for code, names in _ERRORS.items() for name in names.split()}
