"""From the feed to receivers outside: read once, told at least once, each receiver at its own pace.

    feed ─► dispatch ─┬─► outbox of phone ─► deliver ─► webhook
     (position)       ├─► outbox of alarm ─► deliver ─► webhook     tried again with backoff;
                      └─► outbox of mqtt  ─► deliver ─► broker      then a dead letter

Everything that waits is in Redis, so a cloud that is killed goes on where it was. A receiver is
told in order; while it does not answer, what is for it waits, and nobody else.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from redis.backoff import AbstractBackoff, FullJitterBackoff
from redis.exceptions import RedisError

from slimcloud.errors import EventNotFoundError
from slimcloud.events.event import Event
from slimcloud.store.events.outbox import Message, Outbox
from slimcloud.store.feed import Feed, FeedEntry, FeedKind, entry_order
from slimcloud.store.keys import LEASE_SECONDS
from slimcloud.wall_clock import time_of

logger = logging.getLogger(__name__)

KINDS = frozenset({FeedKind.EVENT_BEGUN, FeedKind.EVENT_CHANGED, FeedKind.EVENT_ENDED})
SEND_SECONDS = 10.0  # for one try
_BLOCK_SECONDS = 2.0
_RETRY_SECONDS = 1.0  # after Redis did not answer


class DeliveryError(Exception):
    """A receiver did not take a message.

    Attributes:
        is_final: it never will.
        retry_after_seconds: it asks not to be tried before.
    """

    def __init__(
        self, reason: str, *, is_final: bool = False, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds


class Receiver(Protocol):
    """Somebody outside who is told of events; connected, or ready to connect, while entered."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    @property
    def name(self) -> str: ...

    @property
    def max_tries(self) -> int: ...

    def wants(self, event: Event) -> bool:
        """Whether it is to be told of this event."""

    async def send(self, message: Message) -> None:
        """Tell it.

        Raises:
            DeliveryError: it did not take the message.
        """


@dataclass(eq=False)
class Notifier:
    """Tells receivers what happens to events."""

    feed: Feed
    outbox: Outbox
    receivers: Sequence[Receiver]
    load: Callable[[str], Awaitable[Event]]  # by event id; raises EventNotFoundError
    view: Callable[[Event], Mapping[str, Any]]  # as the API shows it, in JSON
    on_result: Callable[[str, str], None] = lambda receiver, result: None
    # full jitter, to five minutes
    backoff: AbstractBackoff = field(default_factory=lambda: FullJitterBackoff(cap=300, base=1))
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    send_seconds: float = SEND_SECONDS

    async def run(self) -> None:
        """Tell them, in one process of all that share the store, until cancelled."""
        while True:
            try:
                async with self.outbox.lease() as renew, asyncio.TaskGroup() as group:
                    group.create_task(self._keep(renew))
                    group.create_task(self._dispatch())
                    for receiver in self.receivers:
                        group.create_task(self._deliver(receiver))
            except* RedisError as exc:  # also a lease that was lost
                logger.warning("notifications pause: %s", exc.exceptions[0])
            await asyncio.sleep(_RETRY_SECONDS)

    async def _keep(self, renew: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 4)
            await renew()

    async def _dispatch(self) -> None:
        position = await self.outbox.position()
        if position and await self.feed.has_trimmed(position):
            logger.warning("events after %s may not have been told: the feed is trimmed", position)
        if not position:
            position = await self.feed.latest_id()
            await self.outbox.put(position, [])
        while True:
            entries = await self.feed.read(position, block_seconds=_BLOCK_SECONDS)
            messages = []
            for entry in entries:
                if entry.kind in KINDS:
                    messages += await self._messages(entry)
            if entries:
                position = entries[-1].entry_id
                await self.outbox.put(position, messages)

    async def _messages(self, entry: FeedEntry) -> list[tuple[str, Message]]:
        try:
            event = await self.load(entry.detail)
        except EventNotFoundError:  # retention was faster
            return []
        names = [receiver.name for receiver in self.receivers if receiver.wants(event)]
        if not names:
            return []
        time = time_of(1000 * entry_order(entry.entry_id)[0])
        body = {"type": entry.kind, "timestamp": time.isoformat(), "data": self.view(event)}
        message = Message(
            entry.entry_id, entry.kind, event.event_id, event.camera, json.dumps(body)
        )
        return [(name, message) for name in names]

    async def _deliver(self, receiver: Receiver) -> None:
        async with receiver:
            while True:
                found = await self.outbox.first(receiver.name, block_seconds=_BLOCK_SECONDS)
                if found is not None:
                    await self._tell(receiver, *found)

    async def _tell(self, receiver: Receiver, place: str, message: Message) -> None:
        for tries in range(1, receiver.max_tries + 1):
            try:
                async with asyncio.timeout(self.send_seconds):
                    await receiver.send(message)
            except (DeliveryError, TimeoutError) as exc:
                error = exc if isinstance(exc, DeliveryError) else DeliveryError("no answer")
            else:
                await self.outbox.done(receiver.name, place)
                self.on_result(receiver.name, "delivered")
                return
            if error.is_final or tries == receiver.max_tries:
                break
            self.on_result(receiver.name, "retried")
            wait = self.backoff.compute(tries - 1)
            await self.sleep(max(wait, error.retry_after_seconds))
        await self.outbox.give_up(receiver.name, place, message, tries=tries, reason=str(error))
        self.on_result(receiver.name, "given up")
        logger.error("%s was not told of %s: %s", receiver.name, message.event_id, error)
