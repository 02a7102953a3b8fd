"""The directory in which an embedded Redis keeps its data, for one process at a time.

    owner.lock     held by the process that claimed the directory; names it
    server.lock    held by the server, which inherits it, and by what the server forks; names it
    appendonly*    the data, in Redis' own format

A lock ends with its last holder, however that ends: a server that outlives its killed owner is seen
by its lock, and is ended before another begins. No data is ever removed here.
"""

import fcntl
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from slimops.errors import EmbeddedRedisError

HOW_TO_CHANGE = "give another directory with --data or CLOUD_DATA"

_PROBE_BYTES = 2**20  # with less room a start is refused: Redis would fail in the middle of it
_ORPHAN_SECONDS = 10.0  # for a server whose owner is dead to end in order; then as long by force
_POLL_SECONDS = 0.02
_DIRECTORY_OF_7 = "appendonlydir"  # where Redis 7 and later keep what 6 had in one file


class RedisDirectory:
    """A directory that is ours from `claim` to `release`; it is made where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._owner_lock = self._server_lock = -1

    def claim(self, server: Path) -> int:
        """Take the directory for a server that is about to start.

        Args:
            server: the program.

        Returns:
            The open file of the server's lock, for the server to inherit; see `hand_over`.

        Raises:
            EmbeddedRedisError: it cannot be written, is full, is another process's, or holds what
                this server cannot read.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owner_lock = _open(self.path / "owner.lock")
            if not _lock(self._owner_lock):
                raise EmbeddedRedisError(
                    f"{self.path} is in use by another cloud, process {_named(self._owner_lock)}: "
                    f"stop that one, or {HOW_TO_CHANGE}"
                )
            _name(self._owner_lock, os.getpid())
            self._check_room()
            self._check_format(server)
            self._server_lock = _open(self.path / "server.lock")
            self._end_orphan()
        except OSError as exc:
            self.release()
            raise EmbeddedRedisError(
                f"cannot keep data in {self.path}: {exc.strerror}; see that it can be written and "
                f"has room, or {HOW_TO_CHANGE}"
            ) from exc
        except EmbeddedRedisError:
            self.release()
            raise
        return self._server_lock

    def hand_over(self, pid: int) -> None:
        """Leave the server's lock to the server, which has inherited it."""
        _name(self._server_lock, pid)
        os.close(self._server_lock)
        self._server_lock = -1

    def release(self) -> None:
        """Let others claim it, as soon as the server has ended; harmless when it is not claimed."""
        for lock in (self._owner_lock, self._server_lock):
            if lock >= 0:
                os.close(lock)
        self._owner_lock = self._server_lock = -1

    def _check_room(self) -> None:
        probe = self.path / "probe"
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def _check_format(self, server: Path) -> None:
        """Redis 6 would not see what 7 has written, and begin with nothing."""
        if not (self.path / _DIRECTORY_OF_7).exists():
            return
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"v=(\d+)", said.stdout)
        if version is not None and int(version[1]) < 7:
            raise EmbeddedRedisError(
                f"{self.path} was written by Redis 7 or later, which {server} (Redis {version[1]}) "
                f"cannot read: put a later redis-server on the PATH, or {HOW_TO_CHANGE}"
            )

    def _end_orphan(self) -> None:
        """End the server of an owner that was killed. The kernel has told it to stop already."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _lock(self._server_lock):
                return
            self._signal_orphan(number)
            deadline = time.monotonic() + _ORPHAN_SECONDS
            while time.monotonic() < deadline:
                if _lock(self._server_lock):
                    return
                time.sleep(_POLL_SECONDS)
        raise EmbeddedRedisError(
            f"a Redis server, process {_named(self._server_lock)}, still holds {self.path}: end "
            f"it, or {HOW_TO_CHANGE}"
        )

    def _signal_orphan(self, number: signal.Signals) -> None:
        """Signal the process that the lock names, if it is one that holds this very lock."""
        try:
            pid = int(_named(self._server_lock))
            process = os.pidfd_open(pid)  # from here on no other process can be meant
        except (ValueError, ProcessLookupError):
            return  # ended meanwhile, or its fork is the holder
        try:
            if _has_open(pid, self._server_lock):
                signal.pidfd_send_signal(process, number)
        except (ProcessLookupError, FileNotFoundError, PermissionError):
            return  # ended meanwhile, or another user's
        finally:
            os.close(process)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(file: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(lock: int, pid: int) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(pid).encode(), 0)


def _named(lock: int) -> str:
    """The process that a lock names; not necessarily its holder."""
    return os.pread(lock, 20, 0).decode(errors="replace")


def _has_open(pid: int, file: int) -> bool:
    wanted = os.fstat(file)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found = link.stat()
        except FileNotFoundError:
            continue
        if os.path.samestat(found, wanted):
            return True
    return False
