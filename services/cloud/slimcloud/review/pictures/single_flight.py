"""Bytes-bounded results that are computed once, however many ask at once.

    get(key, compute) ── kept? ──────────────► value            (hit)
                      ── being computed? ────► wait for it      (joined)
                      ── else ─ compute() ───► value, kept      (miss)

A computation that nobody waits for any more is cancelled.

The least recently used values are forgotten first. A value larger than the whole budget is handed
out and not kept.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

CacheResult = Literal["hit", "joined", "miss"]


@dataclass(eq=False)
class SingleFlightCache(Generic[Key, Value]):
    """A least-recently-used cache bounded by bytes, with one computation per key at a time.

    For one event loop: nothing here is safe from other threads.
    """

    max_bytes: int  # of all kept values; 0 keeps nothing and still joins callers
    size_bytes: Callable[[Value], int]  # what one value weighs
    on_result: Callable[[CacheResult], None] = lambda _: None  # how each `get` was answered

    def __post_init__(self) -> None:
        self._kept: LRUCache[Key, Value] = LRUCache(self.max_bytes, self.size_bytes)
        self._flights: dict[Key, asyncio.Task[Value]] = {}
        self._callers: Counter[Key] = Counter()  # of each flight

    async def get(self, key: Key, compute: Callable[[], Awaitable[Value]]) -> Value:
        """The value of `key`: kept, joined or computed now.

        A caller that is cancelled leaves the computation to the others, and the last one ends it;
        an exception reaches every caller that joined it and is not kept.
        """
        if key in self._kept:
            self.on_result("hit")
            return self._kept[key]
        flight = self._flights.get(key)
        self.on_result("joined" if flight else "miss")
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(key, compute))
        self._callers[key] += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:  # who asks from now on begins another
                del self._callers[key], self._flights[key]
                flight.cancel()

    async def _fly(self, key: Key, compute: Callable[[], Awaitable[Value]]) -> Value:
        value = await compute()
        with suppress(ValueError):  # larger than the whole budget
            self._kept[key] = value
        return value
