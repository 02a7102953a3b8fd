"""What receivers outside are to be told: for each a stream of messages until they are told or given
up, and how far the feed was read for them.

One process of all that share the store writes and sends (`lease`); any may have a dead letter sent
again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from slimcloud.errors import LetterNotFoundError
from slimcloud.store import keys
from slimcloud.store.replies import stream_entries, text


@dataclass(frozen=True, slots=True)
class Message:
    """What one receiver is told, the same bytes at each try."""

    message_id: str  # by which a receiver knows it again
    kind: str  # of the feed: event.begun, ...
    event_id: str
    camera: str
    body: str  # JSON

    def fields(self) -> dict[FieldT, EncodableT]:
        """As an entry of a stream has it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class UndeliveredMessage:
    """A message that was given up."""

    letter_id: str
    receiver: str
    message: Message
    tries: int
    reason: str
    time_unix_us: int


class Outbox:
    def __init__(self, client: Redis, max_waiting: int = keys.OUTBOX_LENGTH) -> None:
        self._client = client
        self._max_waiting = max_waiting  # messages a receiver; beyond it the oldest are given up

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """Wait until no other process sends, and be the one that does; gives what renews the lease,
        and raises where another process has it by now.
        """
        lock = self._client.lock(keys.OUTBOX_LEASE, timeout=keys.LEASE_SECONDS, sleep=2.0)
        await lock.acquire()
        try:
            yield lambda: lock.extend(keys.LEASE_SECONDS, replace_ttl=True)
        finally:
            with suppress(RedisError):
                await lock.release()

    async def position(self) -> str:
        """Up to which entry the feed was read; empty when it never was."""
        return text(await self._client.get(keys.OUTBOX_POSITION))

    async def put(self, position: str, messages: Iterable[tuple[str, Message]]) -> None:
        """Append messages, each for the receiver before it, and the new position, as one step."""
        receivers = set()
        async with self._client.pipeline(transaction=True) as pipeline:
            for receiver, message in messages:
                receivers.add(receiver)
                pipeline.xadd(f"{keys.OUTBOX}{receiver}", message.fields())
            pipeline.set(keys.OUTBOX_POSITION, position)
            await pipeline.execute()
        for receiver in receivers:
            while await self._client.xlen(f"{keys.OUTBOX}{receiver}") > self._max_waiting:
                if oldest := await self.first(receiver):
                    reason = f"{self._max_waiting} others wait already"
                    await self.give_up(receiver, *oldest, tries=0, reason=reason)

    async def first(self, receiver: str, block_seconds: float = 0.0) -> tuple[str, Message] | None:
        """The oldest message that waits, with the name of its place; waits for up to
        `block_seconds` (0 to 2) when there is none.
        """
        block_ms = min(2000, round(block_seconds * 1000)) or None
        stream = f"{keys.OUTBOX}{receiver}"
        reply: Any = await self._client.xread({stream: "0-0"}, count=1, block=block_ms)
        for _, entries in reply or ():
            for place, written in stream_entries(entries):
                return place, Message(**written)
        return None

    async def done(self, receiver: str, place: str) -> None:
        """The receiver has it."""
        await self._client.xdel(f"{keys.OUTBOX}{receiver}", place)

    async def give_up(
        self, receiver: str, place: str, message: Message, *, tries: int, reason: str
    ) -> None:
        """Make it a dead letter; about the last thousand are kept."""
        letter = message.fields() | {"receiver": receiver, "tries": tries, "reason": reason}
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(keys.UNDELIVERED, letter, maxlen=keys.DEAD_LENGTH)
            pipeline.xdel(f"{keys.OUTBOX}{receiver}", place)
            await pipeline.execute()

    async def undelivered(self, limit: int) -> list[UndeliveredMessage]:
        """Messages that were given up, newest first."""
        entries = stream_entries(await self._client.xrevrange(keys.UNDELIVERED, count=limit))
        return [_letter(*entry) for entry in entries]

    async def send_again(self, letter_id: str) -> UndeliveredMessage:
        """Put a message that was given up behind those that wait.

        Raises:
            LetterNotFoundError: there is none, or it was sent again.
        """
        found = stream_entries(await self._client.xrange(keys.UNDELIVERED, letter_id, letter_id))
        if not found:
            raise LetterNotFoundError(letter_id)
        letter = _letter(*found[0])
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(f"{keys.OUTBOX}{letter.receiver}", letter.message.fields())
            pipeline.xdel(keys.UNDELIVERED, letter_id)
            await pipeline.execute()
        return letter


def _letter(letter_id: str, written: dict[str, str]) -> UndeliveredMessage:
    receiver, tries, reason = (written.pop(name) for name in ("receiver", "tries", "reason"))
    time_us = 1000 * int(letter_id.partition("-")[0])
    return UndeliveredMessage(letter_id, receiver, Message(**written), int(tries), reason, time_us)
