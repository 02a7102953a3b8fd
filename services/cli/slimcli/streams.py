"""What commands read and write: files, or standard input and output where `-` is given.

Files are written whole or not at all, and never over another by accident.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slimcli.exits import BadUsageError, about

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STANDARD = Path("-")  # as an input standard input, as an output standard output
STANDARD_SUFFIX = ".png"  # of a picture on standard output


def read_bytes(path: Path) -> bytes:
    """All of a file, or of standard input."""
    return sys.stdin.buffer.read() if path == STANDARD else path.read_bytes()


def read_container(path: Path) -> bytes:
    """A container, whole, from a file or standard input.

    Raises:
        BitstreamError: it is no container, or a damaged one; `slimcli.exits` names the file.
        OSError: it cannot be read.
    """
    from slimcodec.container import parse_container

    bitstream = read_bytes(path)
    with about(path):
        parse_container(bitstream)
    return bitstream


def load_picture(path: Path) -> NDArray[np.uint8]:
    """The picture of a file, or of standard input, uint8 (H, W, 3) RGB.

    Raises:
        ImageError: it is no picture.
    """
    from slimcodec.image import load_image

    return load_image(read_bytes(path) if path == STANDARD else path)


def refuse_two_standard(*paths: Path | None) -> None:
    """Refuse to read standard input for two things.

    Raises:
        BadUsageError: `-` is there more than once.
    """
    if paths.count(STANDARD) > 1:
        raise BadUsageError("- is standard input, which can be read once; name a file besides")


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse what could not be written in the end, before any work is done.

    Raises:
        FileExistsError: a file would be lost, and `force` is false.
        OSError: `path` is a folder, or in none that exists.
    """
    from slimcodec.whole_file import is_replaceable

    if path != STANDARD and is_replaceable(path) and path.exists() and not force:
        advice = "exists; use --force to replace it, or another name"
        raise FileExistsError(errno.EEXIST, advice, str(path))


def write_bytes(path: Path, data: bytes, *, force: bool) -> None:
    """Write `data` to `path` in one step; what is no file, as `-` or a pipe, is written straight.

    Raises:
        FileExistsError: a file appeared there meanwhile, and `force` is false.
    """
    from slimcodec.whole_file import write_whole

    if path == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    refuse_existing(path, force=force)
    write_whole(path, data)


def write_picture(path: Path, image: NDArray[np.uint8], *, force: bool) -> None:
    """Write an image uint8 (H, W, 3); its format is that of the suffix, PNG on standard output.

    Raises:
        ImageError: the suffix names no format that can be written.
        FileExistsError: a file appeared there meanwhile, and `force` is false.
    """
    from slimcodec.image import image_bytes

    suffix = STANDARD_SUFFIX if path == STANDARD else path.suffix
    write_bytes(path, image_bytes(image, suffix), force=force)


def say(text: str = "") -> None:
    """One line for a person, on standard output."""
    typer.echo(text)


def say_of(output: Path, text: str) -> None:
    """One line about `output`; on standard error where `output` may itself be standard output."""
    from slimcodec.whole_file import is_replaceable

    typer.echo(text, err=output == STANDARD or not is_replaceable(output))


def say_json(value: object) -> None:
    """One line of JSON, on standard output."""
    typer.echo(json_line(value))


def json_line(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
