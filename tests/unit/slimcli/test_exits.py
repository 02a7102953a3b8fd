"""Exit codes and messages, for the errors of every package."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from slimcli.exits import (
    BadUsageError,
    ExitCode,
    UnavailableError,
    about,
    exit_code_of,
    message_of,
    needs_extra,
)
from slimcloud.errors import StoreFullError
from slimcodec import errors as codec
from slimedge.errors import CameraError, ModelMismatchError, RefusedError
from slimops.errors import EmbeddedRedisError, SettingsError
from slimops.installation import how_to_install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (codec.NotAContainerError("no magic"), ExitCode.BAD_DATA),
        (codec.TruncatedContainerError("ends"), ExitCode.BAD_DATA),
        (codec.FingerprintMismatchError("of another model"), ExitCode.BAD_DATA),
        (codec.ImageError("no picture"), ExitCode.BAD_DATA),
        (codec.CodecError("level 9; there are 0..3"), ExitCode.USAGE),
        (codec.ModelError("none there"), ExitCode.CONFIG),
        (SettingsError(["EDGE_SOURCE: missing"]), ExitCode.CONFIG),
        (ModelMismatchError(b"a" * 8, "another"), ExitCode.CONFIG),
        (CameraError("no such file"), ExitCode.NO_INPUT),
        (FileNotFoundError(2, "No such file or directory", "a"), ExitCode.NO_INPUT),
        (IsADirectoryError(21, "Is a directory", "a"), ExitCode.NO_INPUT),
        (OSError(28, "No space left on device", "a"), ExitCode.IO),
        (RefusedError("UNAUTHENTICATED", "no token"), ExitCode.UNAVAILABLE),
        (StoreFullError("full"), ExitCode.UNAVAILABLE),
        (EmbeddedRedisError("no server"), ExitCode.UNAVAILABLE),
        (UnavailableError("it does not answer"), ExitCode.UNAVAILABLE),
        (BadUsageError("one or the other"), ExitCode.USAGE),
        (FileExistsError(17, "exists", "a"), ExitCode.CANNOT_CREATE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ZeroDivisionError("division by zero"), ExitCode.INTERNAL),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_a_message_is_one_line_that_names_the_file() -> None:
    error = FileNotFoundError(2, "No such file or directory", "a.slim")

    assert message_of(error) == "a.slim: no such file or directory"


@pytest.mark.parametrize("said", ["a: no magic", "no magic at all"])
def test_bad_data_is_told_with_its_file_once(said: str) -> None:
    with pytest.raises(codec.BitstreamError) as caught, about("a"):
        raise codec.NotAContainerError(said)

    assert message_of(caught.value) == f"a: {said.removeprefix('a: ')}"


def test_a_bug_says_how_to_see_its_traceback() -> None:
    assert "slimwire --debug" in message_of(ZeroDivisionError("division by zero"))


def test_a_wrong_field_is_named() -> None:
    class Lamp(BaseModel):
        watts: float = Field(gt=0)

    with pytest.raises(ValidationError) as caught:
        Lamp(watts=-1)

    assert exit_code_of(caught.value) is ExitCode.CONFIG
    assert message_of(caught.value) == "Lamp: watts: Input should be greater than 0"


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(UnavailableError) as caught, needs_extra("train", "train codec"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    assert "`slimwire train codec` needs torch" in str(caught.value)
    assert how_to_install("train") in str(caught.value)
    assert exit_code_of(caught.value) is ExitCode.UNAVAILABLE


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("train", "train codec"):
        raise ModuleNotFoundError("No module named 'slimtrain.nothing'", name="slimtrain.nothing")
