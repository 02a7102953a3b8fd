"""Items -> batches. Names and meanings are Triton's.

    submit ─► queue (max_queue_size) ─► batch of equal keys, at most max_batch_size,
                                        after at most max_queue_delay_seconds ─► batch

Guarantees: items of one `order` leave in the order in which they came (an item never passes another
of its camera and lane); equally urgent orders take turns, so that a camera with many items keeps no
other waiting; the first of the most urgent items is always in the next batch, and others only fill
it up; one batch runs at a time. A full queue makes `submit` wait: what is behind it stays where it
is.

Source: dynamic batching as in NVIDIA Triton's model configuration.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Item]):
    item: Item
    since: float  # seconds of the loop's clock


@dataclass(eq=False, kw_only=True)
class Batcher(Generic[Item]):
    """For one event loop."""

    key: Callable[[Item], Hashable]  # items of one batch have equal ones: the size of the latent
    order: Callable[[Item], Hashable]  # items of equal ones keep their order: camera and lane
    # the lower, the more urgent; Triton's priority level. Items of equal orders have equal ones
    priority: Callable[[Item], int] = lambda _: 0
    max_batch_size: Callable[[Item], int]  # how many items like this one make a whole batch
    max_queue_delay_seconds: float
    max_queue_size: int

    def __post_init__(self) -> None:
        self._queue: list[_Waiting[Item]] = []
        self._is_running = False
        self._changed = asyncio.Condition()

    async def submit(self, item: Item) -> None:
        """Put an item into the queue; waits while it is full."""
        async with self._changed:
            await self._changed.wait_for(self._has_space)
            self._queue.append(_Waiting(item, asyncio.get_running_loop().time()))
            self._take_turns()
            self._changed.notify_all()

    async def space(self) -> int:
        """How many items can be submitted without waiting, as soon as one can."""
        async with self._changed:
            await self._changed.wait_for(self._has_space)
            return self.max_queue_size - len(self._queue)

    async def drained(self) -> None:
        """Return when nothing waits and nothing runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._queue and not self._is_running)

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[list[Item]]:
        """The next batch, once there is one; it counts as running until the block ends."""
        batch = await self._next_batch()
        try:
            yield batch
        finally:
            async with self._changed:
                self._is_running = False
                self._changed.notify_all()

    async def _next_batch(self) -> list[Item]:
        loop = asyncio.get_running_loop()
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: bool(self._queue))
                max_batch_size = self.max_batch_size(self._queue[0].item)
                chosen = self._choose(max_batch_size)
                left = self._queue[0].since + self.max_queue_delay_seconds - loop.time()
                if len(chosen) == max_batch_size or left <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()
            self._queue = [waiting for waiting in self._queue if waiting not in chosen]
            self._is_running = True
            self._changed.notify_all()
            return [waiting.item for waiting in chosen]

    def _take_turns(self) -> None:
        before: Counter[Hashable] = Counter()

        def turn(waiting: _Waiting[Item]) -> tuple[int, int]:
            order = self.order(waiting.item)
            before[order] += 1
            return self.priority(waiting.item), before[order]

        self._queue.sort(key=turn)  # stable

    def _has_space(self) -> bool:
        return len(self._queue) < self.max_queue_size

    def _choose(self, max_batch_size: int) -> list[_Waiting[Item]]:
        """The oldest of the most urgent items and those that may go with it."""
        key = self.key(self._queue[0].item)
        chosen: list[_Waiting[Item]] = []
        passed_over: set[Hashable] = set()
        for waiting in self._queue:
            if len(chosen) == max_batch_size:
                break
            order = self.order(waiting.item)
            if self.key(waiting.item) == key and order not in passed_over:
                chosen.append(waiting)
            else:
                passed_over.add(order)
        return chosen
