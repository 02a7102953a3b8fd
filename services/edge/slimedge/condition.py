"""Wait until something has happened, then look again: how the edge's parts wait for each other.

Two conditions run through an edge. `may_go` says that a frame may go which could not before:

    Pipeline.deliver, .end   a newer frame, or none will come ──┐
    Uplink                   a stream is up, drains, has ended ─┼─► notify_all
    Uplink                   an answer: credit, Ack, Nack, ... ─┘        │
                                                                         ▼
    Pipeline    waits for a frame, for a decision to send it, at the end for the last results
    Uplink      waits for room in the cloud's window
    Backfill    waits for a stream, for room, for the answer to what it sent
    Refetcher   waits for the next stream, after one has ended

`SpoolWorker.arrived` says that something waits on disk that did not; `Backfill` waits for it.
Whoever is woken looks at everything again: a condition says that something has happened, not what.
"""

from __future__ import annotations

import asyncio


class Condition:
    """As `asyncio.Condition` without its lock, for one event loop.

    Nothing is missed between looking and waiting, because nothing else runs between the two.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify_all(self) -> None:
        """Wake all that wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def ticket(self) -> asyncio.Event:
        """Give what the next `notify_all` sets, to look at something else before waiting for it."""
        return self._event

    async def wait(self) -> None:
        """Wait for the next `notify_all`."""
        await self._event.wait()
