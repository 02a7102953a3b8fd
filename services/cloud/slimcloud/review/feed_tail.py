"""Wakes every open event stream when something happened, with one blocking read per process.

    Redis stream ─► tail (one task, while anyone listens) ─► wakes ─► listeners
                 ◄─ each listener reads on from its own position ─────────┘

Listeners have no queues: the feed in Redis is the queue. A slow listener therefore costs no
memory here, and misses nothing until the feed itself is trimmed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from slimcloud.store.feed import Feed, FeedEntry, FeedKind

logger = logging.getLogger(__name__)

TAIL_BLOCK_SECONDS = 2.0
RETRY_SECONDS = 1.0  # after Redis did not answer
READ_COUNT = 100


class FeedTail:
    """The feed as it grows, for any number of listeners in one event loop."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._listeners = 0
        self._tail: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # replaced at each wake-up
        self._round = 0  # a listener of an earlier one ends
        self._stopped = False

    async def listen(self, after: str) -> AsyncIterator[FeedEntry]:
        """Entries after the id `after`, for ever, or until `stop` or `interrupt`."""
        begun = self._round
        self._listeners += 1
        if self._tail is None:
            self._tail = asyncio.create_task(self._run_tail(), name="feed-tail")
        try:
            while not self._stopped and begun == self._round:
                news = self._news  # taken before reading: what comes in between sets it
                entries = await self._feed.read(after, count=READ_COUNT)
                for entry in entries:
                    after = entry.entry_id
                    if entry.kind is not FeedKind.UNKNOWN:
                        yield entry
                if not entries:
                    await news.wait()
        finally:
            self._listeners -= 1
            if self._listeners == 0 and self._tail is not None:
                self._tail.cancel()
                self._tail = None

    def stop(self) -> None:
        """End every open stream, so that the server need not wait for its clients to leave."""
        self._stopped = True
        self._wake()

    def interrupt(self) -> None:
        """End every stream that is open now; clients come back where they were."""
        self._round += 1
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _run_tail(self) -> None:
        after = None  # a listener's own position will not do: it is what its client says
        while True:
            try:
                if after is None:
                    after = await self._feed.latest_id()
                    self._wake()  # what came before is for the listeners to read
                entries = await self._feed.read(
                    after, count=READ_COUNT, block_seconds=TAIL_BLOCK_SECONDS
                )
            except RedisError as exc:
                logger.warning("the feed does not answer: %s", exc)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if entries:
                after = entries[-1].entry_id
                self._wake()
