"""The one place that makes Redis clients, with every time limit said.

redis-py 8 by default waits 5 s for a reply and tries 10 times, so that a blocking read of 6 s hangs
for about a minute. Here: no command blocks for more than 2 s, a reply is awaited for 5 s, and a
command is tried 4 times in all within about 2 s of pauses. Writes are repeated when the connection
breaks, so they must be safe to repeat.

redis-py sends through `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes just
as the write ends: of 300 cancelled readers 13 went on for ever. The connections here send under
`asyncio.timeout`, which loses none. Source: https://github.com/python/cpython/issues/86296

A closed client of redis-py connects again at its next command, and tries again what the closing
interrupted: who is late at a stop would leave a connection open. Ours stays closed.
"""

import asyncio
import builtins
from collections.abc import Iterable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError

_REPLY_SECONDS = 5.0  # more than the 2 s that an XREAD may block
_CONNECT_SECONDS = 2.0
_RETRIES = 3


class ClosedClientError(RedisError):
    """The client was closed before the command, or while it ran; it is not tried again."""

    def __init__(self) -> None:
        super().__init__("this Redis client is closed; make another")


class _OurConnection(AbstractConnection):
    """Sends without `asyncio.wait_for`; connects no more once its pool is closed."""

    def __init__(self, *, closed: asyncio.Event, **options: Any) -> None:
        super().__init__(**options)
        self._closed = closed

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if not self._closed.is_set():
            await super().connect_check_health(check_health, retry_socket_connect)
        if self._closed.is_set():  # before, or while it connected
            await self.disconnect(nowait=True)
            raise ClosedClientError

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        reply_seconds, self.socket_timeout = self.socket_timeout, None  # None: no wait_for
        try:
            async with asyncio.timeout(reply_seconds):
                await super().send_packed_command(command, check_health)
        except builtins.TimeoutError:
            raise TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = reply_seconds


class _Pool(BlockingConnectionPool):
    """Once closed, it stays closed."""

    async def aclose(self) -> None:
        self.connection_kwargs["closed"].set()
        await super().aclose()


def redis_client(url: str, *, max_connections: int = 32) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://` URLs; replies are bytes.

    Close it with `await client.aclose()`, which closes its connections too; from then on every
    command raises `ClosedClientError`, also one that is under way.
    """
    pool = _Pool.from_url(
        url,
        max_connections=max_connections,
        timeout=_REPLY_SECONDS,
        protocol=2,
        socket_timeout=_REPLY_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), _RETRIES),
        retry_on_error=[BusyLoadingError, ConnectionError, TimeoutError],
        closed=asyncio.Event(),
    )
    # over TCP, TLS or a unix socket, as the URL says
    pool.connection_class = type("_OurConnection", (_OurConnection, pool.connection_class), {})
    return Redis.from_pool(pool)
