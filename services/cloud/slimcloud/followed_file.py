"""A file that is looked at while the process runs: what it says counts from then on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from redis.exceptions import RedisError

from slimops.metrics import Metrics

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # between two looks

T = TypeVar("T")


class FileMetrics:
    """What is told of the files that a process follows."""

    def __init__(self, metrics: Metrics) -> None:
        self.broken = metrics.gauge(
            "file_broken", "1 while a file that is followed changes nothing", labels=("file",)
        )


async def follow_file(
    path: Path,
    parse: Callable[[str], T],
    known: T,
    take: Callable[[T], Awaitable[None]],
    tell: Callable[[bool], object],
) -> None:
    """Hand each new content to `take`, until cancelled. A file that cannot be read or is wrong
    (`ValueError`) changes nothing; what a store that does not answer could not take is tried again.

    Args:
        known: what the file said at the start.
        tell: at each look, whether it changes nothing.
    """
    said = ""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            found = parse(await asyncio.to_thread(path.read_text, "utf-8-sig"))
            if found != known:
                await take(found)
                known = found
                logger.info("%s has changed, and counts", path)
            tell(False)
        except (OSError, ValueError, RedisError) as exc:
            if said != (said := str(exc)):
                logger.warning("%s changes nothing: %s", path, exc)
            tell(True)
