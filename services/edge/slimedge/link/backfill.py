"""What waits in the spool -> the cloud, in the time that live frames leave over.

    gaps first ─► next_gap ─► send ─ GapAck ─► forget
    then, oldest first ─► next_frame ─► room? ─► send ─ PERSISTED ─► forget
                                                      ├ Nack for good ─► a gap
                                                      └ Nack for now, stream ended ─► again, later

One frame at a time, and only when nothing else is on its way: a live frame waits behind one of them
at most. A fifth of the link and of the cloud's detector, as far as this edge knows either, so that
the chance of that is small and an outage of many cameras does not end in a queue of their past.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import google_crc32c

from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller
from slimedge.event import Backfilled, EdgeObserver
from slimedge.gap import Gap, GapReason
from slimedge.link.connection import DisconnectedError
from slimedge.link.uplink import LOOK_SECONDS, Uplink
from slimedge.memory.ledger import UNANSWERED, BackfillState, Ledger
from slimedge.memory.spool import SpooledFrame
from slimedge.memory.spool_worker import SpoolWorker

SHARE = 0.2  # of the link, and of the cloud's time per frame

_LATER_SECONDS = 1.0  # after a Nack that may be mended by waiting
_IDLE_SECONDS = 5.0  # an empty spool is looked into again, though nothing has arrived in it
_ANSWER_SECONDS = 30.0  # to a GapAck; what takes longer is sent again


@dataclass(eq=False)
class Backfill:
    """Empties the spool; `run` it beside the uplink."""

    spool: SpoolWorker
    ledger: Ledger
    uplink: Uplink
    controller: Controller  # knows the link's rate and the cloud's
    budget: BudgetAccount  # is kept for live frames first
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds
    answer_seconds: float = _ANSWER_SECONDS

    def __post_init__(self) -> None:
        self._next_due = 0.0  # monotonic seconds of the next frame
        self._gaps_due = 0.0  # the same, of gaps: later than now while one is not answered

    async def run(self) -> None:
        """Send whatever there is whenever there is a stream, until cancelled."""
        while True:
            while not self.uplink.is_up:
                await self.ledger.may_go.wait()
            with suppress(DisconnectedError):
                await self._serve()

    async def _serve(self) -> None:
        """Send over one stream until it ends."""
        place = 0
        while self.uplink.is_up:
            self.spool.arrived.clear()
            if self.clock() >= self._gaps_due and (gap := await self.spool.next_gap(0)):
                await self._send_gap(gap)
            elif (kept := await self.spool.next_frame(place)) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await self.spool.arrived.wait()
                place = 0
            elif kept.epoch == self.spool.epoch and self.ledger.holds(kept.header.sequence):
                place = kept.place  # it is on its way as a live frame
            else:
                await self._send_frame(kept)

    async def _send_gap(self, gap: Gap) -> None:
        self.ledger.gap_on_its_way = gap.number
        await self.uplink.send_gap(gap)
        try:
            async with asyncio.timeout(self.answer_seconds):
                await self._until(lambda: self.ledger.gap_on_its_way is None)
        except TimeoutError:  # the cloud could not store it: frames first, then once more
            self._gaps_due = self.clock() + self.answer_seconds
            return
        self.spool.forget_gap(gap)

    async def _send_frame(self, kept: SpooledFrame) -> None:
        size_bytes = len(kept.container)
        if google_crc32c.value(kept.container) != kept.header.container_crc32c:
            self.spool.give_up(kept, GapReason.DISK)
            return
        if 0 < self.ledger.max_frame_bytes < size_bytes:
            self.spool.give_up(kept, GapReason.REFUSED)
            return
        await self._wait_for_room(size_bytes)
        await self.uplink.send_kept(kept)
        busy = max(size_bytes / self.controller.rate.safe, self.controller.service.seconds)
        self._next_due = self.clock() + busy / SHARE
        match await self._answer():
            case BackfillState.PERSISTED:
                self.spool.forget(kept.epoch, kept.header.sequence)
                self.observer.notify(Backfilled(kept.epoch, kept.header.sequence, size_bytes))
            case BackfillState.REFUSED:
                self.spool.give_up(kept, GapReason.REFUSED)
            case _:
                self._next_due = max(self._next_due, self.clock() + _LATER_SECONDS)

    async def _answer(self) -> BackfillState:
        backfill = self.ledger.backfill
        assert backfill is not None, "sent a moment ago"
        await self._until(lambda: backfill.state not in UNANSWERED)
        self.ledger.backfill = None
        return backfill.state

    async def _wait_for_room(self, size_bytes: int) -> None:
        while not self._has_room(size_bytes):
            await self.ledger.may_go.wait(LOOK_SECONDS)
            self._check_link()

    def _has_room(self, size_bytes: int) -> bool:
        now = self.clock()
        link = self.ledger.view(now)
        return (
            link.in_flight_bytes == 0
            and not link.paused
            and not self.uplink.is_busy
            and self.ledger.has_room(size_bytes)
            and self.budget.view().backlog_seconds == 0
            and now >= self._next_due
        )

    async def _until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            self._check_link()
            await self.ledger.may_go.wait()

    def _check_link(self) -> None:
        if not self.uplink.is_up:
            raise DisconnectedError("the stream ended before what was kept had arrived")
