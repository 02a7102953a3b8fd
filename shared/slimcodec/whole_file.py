"""A file is written whole or not at all: beside its place first, then on the disk, then renamed.

Who reads the path meanwhile, or after a power cut, finds the old file or the new one. What is no
regular file (a device, a pipe, a descriptor such as `/dev/stdout`) cannot be replaced and is
written straight. Links are followed, so the file that they name is replaced, never the link; it
keeps its mode.
"""

import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".slimwire.part"  # how the temporary file beside a path is called
_MOST_LINKS = 40  # as Linux follows in one path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` in one step; see `whole_file`."""
    with whole_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A seekable file that takes the place of `path` when the block ends without an error.

    Raises:
        OSError: it cannot be written; the error names `path`, never the temporary file.
    """
    write = _replace if is_replaceable(path) else _append
    try:
        with write(path) as file:
            yield file
    except OSError as exc:
        if exc.errno is None or not (exc.filename is None or str(exc.filename).endswith(_PARTIAL)):
            raise
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def is_replaceable(path: Path) -> bool:
    """Whether `path` is a regular file or none yet; False: it can only be written straight.

    Raises:
        FileNotFoundError, NotADirectoryError: the folder that `path` names does not exist.
        IsADirectoryError: `path` is a folder.
    """
    if _is_descriptor(path):
        return False
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not Path(os.path.realpath(path)).parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT, "its folder does not exist; make it first", str(path)
            ) from None
        return True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return stat.S_ISREG(mode)


@contextmanager
def _replace(path: Path) -> Iterator[BinaryIO]:
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{secrets.token_hex(8)}{_PARTIAL}")
    try:
        with partial.open("xb") as file:
            with suppress(FileNotFoundError):  # a new file has the mode that the umask gives
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError):  # some (network) file systems refuse; the file is there
        sync(target.parent)


@contextmanager
def _append(path: Path) -> Iterator[BinaryIO]:
    held = io.BytesIO()
    yield held
    with path.open("ab") as file:  # not "wb": a redirected /dev/stdout may hold something
        file.write(held.getbuffer())


def _is_descriptor(path: Path) -> bool:
    """Whether links lead from `path` to an open descriptor, `/proc/PID/fd/N` on Linux.

    The file behind it must not be replaced: whoever opened it would keep the old one.
    """
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder.name == "fd" and folder.parts[1] in ("proc", "dev"):
            return True
        if not path.is_symlink():
            return False
        path = folder / path.readlink()
    return False


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
