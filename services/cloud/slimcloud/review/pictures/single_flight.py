"""Bytes-bounded results that are computed once, however many ask at once.

    get(key, compute) ── kept? ──────────────► value            (hit)
                      ── being computed? ────► wait for it      (joined)
                      ── else ─ compute() ───► value, kept      (miss)

A computation that nobody waits for any more is cancelled.

The least recently used values are forgotten first. A value larger than the whole budget is handed
out and not kept.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Literal, TypeVar

__all__ = ["CacheResult", "SingleFlightCache"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

CacheResult = Literal["hit", "joined", "miss"]


class SingleFlightCache(Generic[Key, Value]):
    """A least-recently-used cache bounded by bytes, with one computation per key at a time.

    For one event loop: nothing here is safe from other threads.

    Args:
        max_bytes: budget for all kept values, bytes; 0 keeps nothing and still joins callers.
        size_bytes: what one value weighs, bytes.
        on_result: told once per `get` how it was answered.
    """

    def __init__(
        self,
        max_bytes: int,
        size_bytes: Callable[[Value], int],
        on_result: Callable[[CacheResult], None] = lambda _: None,
    ) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = size_bytes
        self._on_result = on_result
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._kept_bytes = 0
        self._flights: dict[Key, asyncio.Task[Value]] = {}
        self._callers: Counter[asyncio.Task[Value]] = Counter()  # of each flight

    @property
    def kept_bytes(self) -> int:
        """What the kept values weigh together, bytes."""
        return self._kept_bytes

    async def get(self, key: Key, compute: Callable[[], Awaitable[Value]]) -> Value:
        """The value of `key`: kept, joined or computed now.

        A caller that is cancelled leaves the computation to the others, and the last one ends it;
        an exception reaches every caller that joined it and is not kept.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            self._on_result("hit")
            return self._kept[key]
        flight = self._flights.get(key)
        self._on_result("joined" if flight else "miss")
        if flight is None:
            flight = asyncio.create_task(self._fly(key, compute))
            self._flights[key] = flight
            flight.add_done_callback(_retrieve_exception)
        self._callers[flight] += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._callers[flight] -= 1
            if not self._callers[flight]:
                del self._callers[flight]
                if not flight.done():
                    self._land(key, flight)

    def _land(self, key: Key, flight: asyncio.Task[Value]) -> None:
        """End a computation at once: who asks from now on begins another."""
        del self._flights[key]
        flight.cancel()

    async def _fly(self, key: Key, compute: Callable[[], Awaitable[Value]]) -> Value:
        try:
            value = await compute()
            self._keep(key, value)
            return value
        finally:
            if self._flights.get(key) is asyncio.current_task():
                del self._flights[key]

    def _keep(self, key: Key, value: Value) -> None:
        value_bytes = self._size_bytes(value)
        if value_bytes > self._max_bytes:
            return
        self._kept[key] = value
        self._kept_bytes += value_bytes
        while self._kept_bytes > self._max_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._kept_bytes -= self._size_bytes(forgotten)


def _retrieve_exception(flight: "asyncio.Task[Value]") -> None:
    """Mark the exception as seen: when every waiter was cancelled, nobody else would."""
    if not flight.cancelled():
        flight.exception()
