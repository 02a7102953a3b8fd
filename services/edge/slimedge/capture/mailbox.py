"""One place for the newest frame: a camera that is faster than the encoder overwrites it.

A queue here would only make frames old. Shedding is named: whoever puts gets back what fell out.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most one item, the newest; used from one thread, nothing in it waits."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Store `item`; the item that it replaced, if nobody had taken it.

        Raises:
            ValueError: the box is closed.
        """
        if self._closed:
            raise ValueError("put into a closed mailbox")
        replaced, self._item = self._item, item
        return replaced

    def take(self) -> T | None:
        """Remove and give the item; None if there is none now."""
        item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Nothing more will come; an item that waits can still be taken."""
        self._closed = True

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed
