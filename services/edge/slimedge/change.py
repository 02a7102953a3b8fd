"""Wait until something has changed, then look again: the one way that stages wait for each other.

Used from one event loop: no change is missed between looking and waiting, because nothing else
runs between the two.
"""

from __future__ import annotations

import asyncio


class Change:
    """A flag that wakes everybody who waits and is down again at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all that wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def ticket(self) -> asyncio.Event:
        """Give what the next `notify` sets, to look at something else before waiting for it."""
        return self._event

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        await self._event.wait()
