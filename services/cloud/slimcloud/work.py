"""The queue of frames that wait for the detector: a Redis stream with one consumer group.

An entry is deleted when it is done, so the stream's length is the work that is outstanding. A
worker that dies leaves its entries pending; `reclaim` hands them to another after
`min_idle_seconds`. An entry that was handed out more than `max_deliveries` times has killed its
workers: it goes to the dead letters.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from slimcloud import keys
from slimcloud.frame_id import FrameId
from slimcloud.replies import StreamEntry, first_stream_entries, stream_entries, text

__all__ = ["WorkItem", "WorkQueue"]


@dataclass(frozen=True, slots=True)
class WorkItem:
    entry_id: str
    frame_id: FrameId
    deliveries: int  # 1 = handed out for the first time


class WorkQueue:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def prepare(self) -> None:
        """Make the consumer group, if it is not there."""
        try:
            await self._client.xgroup_create(keys.WORK, keys.DETECT_GROUP, id="0", mkstream=True)
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise

    async def read(self, consumer: str, *, count: int, block_seconds: float) -> list[WorkItem]:
        """Up to `count` new entries in order, waiting for up to `block_seconds` (at most 2)."""
        block_ms = max(1, min(2000, round(block_seconds * 1000)))
        reply = await self._client.xreadgroup(
            keys.DETECT_GROUP, consumer, {keys.WORK: ">"}, count=count, block=block_ms
        )
        items: list[WorkItem] = []
        for entry in first_stream_entries(reply):
            items.append(_item(entry, 1))
        return items

    async def reclaim(
        self, consumer: str, *, min_idle_seconds: float, count: int
    ) -> list[WorkItem]:
        """Take over up to `count` entries that their worker left alone for `min_idle_seconds`."""
        idle_ms = round(min_idle_seconds * 1000)
        reply = await self._client.xautoclaim(
            keys.WORK,
            keys.DETECT_GROUP,
            consumer,
            min_idle_time=idle_ms,
            start_id="0-0",
            count=count,
        )
        entries = stream_entries(reply[1])
        if not entries:
            return []
        pending = await self._client.xpending_range(
            keys.WORK,
            keys.DETECT_GROUP,
            min=entries[0][0],
            max=entries[-1][0],
            count=10 * count,
            consumername=consumer,
        )
        deliveries = {text(row["message_id"]): int(row["times_delivered"]) for row in pending}
        return [_item(entry, deliveries.get(entry[0], 1)) for entry in entries]

    async def done(self, item: WorkItem) -> None:
        """Take an entry off the queue; its outcome is stored."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xack(keys.WORK, keys.DETECT_GROUP, item.entry_id)
            pipeline.xdel(keys.WORK, item.entry_id)
            await pipeline.execute()

    async def bury(self, item: WorkItem, reason: str) -> None:
        """Move an entry to the dead letters."""
        await self._client.xadd(
            keys.DEAD,
            {"frame_id": str(item.frame_id), "reason": reason, "deliveries": item.deliveries},
            maxlen=keys.DEAD_LENGTH,
        )
        await self.done(item)

    async def dead_letters(self) -> list[tuple[FrameId, str]]:
        """Frames that were given up, with the reason; oldest first."""
        entries = stream_entries(await self._client.xrange(keys.DEAD))
        return [(FrameId.parse(fields["frame_id"]), fields["reason"]) for _, fields in entries]

    async def outstanding(self) -> int:
        """Entries that are waiting or being worked on."""
        return int(await self._client.xlen(keys.WORK))

    async def retire(self, consumer: str) -> None:
        """Forget a consumer that stops and has nothing pending."""
        with contextlib.suppress(ResponseError):
            mine = await self._client.xpending_range(
                keys.WORK, keys.DETECT_GROUP, min="-", max="+", count=1, consumername=consumer
            )
            if not mine:  # deleting a consumer would delete its pending entries with it
                await self._client.xgroup_delconsumer(keys.WORK, keys.DETECT_GROUP, consumer)


def _item(entry: StreamEntry, deliveries: int) -> WorkItem:
    entry_id, fields = entry
    return WorkItem(entry_id, FrameId.parse(fields["frame_id"]), deliveries)
