"""What a process does again and again for as long as it runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


async def repeat(step: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
    """Take a step, pause, and so on, until cancelled; wait for a store that does not answer."""
    while True:
        try:
            await step()
        except RedisError as exc:
            logger.warning("the store does not answer: %s", exc)
        await asyncio.sleep(pause_seconds)
