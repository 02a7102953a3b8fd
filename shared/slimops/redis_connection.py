"""The one place that makes Redis clients, with every time limit said.

redis-py 8 by default waits 5 s for a reply and tries 10 times, so that a blocking read of 6 s hangs
for about a minute. Here: no command blocks for more than 2 s, a reply is awaited for 5 s, and a
command is tried 4 times in all within about 2 s of pauses. Writes are repeated when the connection
breaks, so they must be safe to repeat.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

__all__ = ["MAX_BLOCK_SECONDS", "redis_client"]

MAX_BLOCK_SECONDS: Final = 2.0  # for XREAD and XREADGROUP
_REPLY_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2.0
_RETRIES: Final = 3


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
    return Redis.from_pool(pool)
