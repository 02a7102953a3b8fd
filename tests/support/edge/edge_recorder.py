"""An observer that keeps every event of an edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from slimedge.event import EdgeEvent
from slimedge.memory.ledger import Condition

E = TypeVar("E")


class EdgeRecorder:
    """Keeps events in order; wait for one with `wait_until`."""

    def __init__(self) -> None:
        self.events: list[EdgeEvent] = []
        self._heard = Condition()

    def notify(self, event: EdgeEvent) -> None:
        self.events.append(event)
        self._heard.notify_all()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Wait until an event makes `predicate` true."""
        while not predicate():
            await self._heard.wait()
