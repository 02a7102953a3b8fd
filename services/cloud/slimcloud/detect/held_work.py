"""What one worker has taken and what has no outcome yet.

hold ─┬─ finish   its outcome is stored, or its frame is gone: off the queue
      ├─ drop     it is not to be detected, and why: off the queue
      └─ release  it stays on the queue, to be reclaimed; or left it with its outcome
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from slimcloud.detect.metrics import DetectMetrics
from slimcloud.store.frames import Store
from slimcloud.store.records import Lane, StoredFrame
from slimcloud.store.work_queue import WorkItem

logger = logging.getLogger(__name__)


class HeldWork:
    def __init__(
        self, store: Store, metrics: DetectMetrics, clock_unix_us: Callable[[], int]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock_unix_us = clock_unix_us
        self._ended: dict[tuple[Lane, str], asyncio.Event] = {}

    @property
    def is_empty(self) -> bool:
        return not self._ended

    def hold(self, items: Iterable[WorkItem]) -> None:
        for item in items:
            self._ended[_key(item)] = asyncio.Event()

    def holds(self, item: WorkItem) -> bool:
        return _key(item) in self._ended

    async def ended(self, item: WorkItem) -> None:
        """Return when an entry is held no more; at once when it is not held."""
        ended = self._ended.get(_key(item))
        if ended is not None:
            await ended.wait()

    def release(self, item: WorkItem) -> None:
        ended = self._ended.pop(_key(item), None)
        if ended is not None:
            ended.set()

    async def finish(self, item: WorkItem) -> None:
        try:
            await self._store.work.done(item)
        finally:
            self.release(item)

    async def drop(self, item: WorkItem, reason: str) -> None:
        await self._store.set_dropped(item.frame_id, reason)
        self._metrics.lost.labels("dropped").inc()
        logger.warning("dropped: %s", reason, extra={"frame_id": item.frame_id})
        await self.finish(item)

    async def drop_if_expired(self, item: WorkItem, record: StoredFrame) -> bool:
        """Whether the frame's deadline has passed, and it was dropped for that."""
        reason = record.expired_reason(self._clock_unix_us())
        if reason is not None:
            await self.drop(item, reason)
        return reason is not None


def _key(item: WorkItem) -> tuple[Lane, str]:
    return item.lane, item.entry_id
