"""The spool beside the event loop: on one thread of its own, and not needed for live frames.

    keep, forget, record ─► thread ─► Spool on disk ──── sqlite3.Error ───┐
                               ▲                                          ▼
                               └── after 30 s, doubling ◄── the file is read only, or if it cannot
                                                            be read: memory, records of gaps only

A file on a full disk goes on to be sent. When all of it is, it is taken away, which gives its space
back: deleting a row may need space first.

A commit takes 25 microseconds, but 150 ms when the log is written back (on a fast disk: an SD card
takes longer), and the event loop must not wait for that. A disk that is full or fails costs what
would have been kept on it, said once in the log and in `slim_edge_spool_up`; live frames go on.

The file keeps a sign of life, so the next start knows for how long no edge was running: a gap, too.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, TypeVar

from slimedge.event import EdgeObserver, GapRecorded, LossReason, Lost, SpoolChanged, Spooled
from slimedge.gap import Gap, GapReason
from slimedge.memory.ledger import LedgerFrame
from slimedge.memory.spool import Spool, SpooledFrame, gap_of
from slimops.logs import LOG_CAMERA

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_PENDING = 128  # frames that wait for the disk; more are not taken
FIRST_RETRY_SECONDS = 30.0
ALIVE_SECONDS = 60.0  # between two signs of life: what a crash adds to the gap after it

_LAST_RETRY_SECONDS = 600.0
_LOSSES = {GapReason.SPOOL_FULL: LossReason.SPOOL_FULL, GapReason.EXPIRED: LossReason.SPOOL_AGE}


@dataclass(eq=False)
class SpoolWorker:
    """What waits for the link, used from the event loop; `run` it, and `close` it at the end."""

    path: Path | None  # the spool's file; None keeps records of gaps in memory, and no frames
    epoch: int  # of this start of the edge
    _: KW_ONLY
    max_bytes: int  # of the frames, and how long they are kept: see `Spool`
    max_age_seconds: float
    is_held: Callable[[int], bool]  # whether a frame of this start has not been given up elsewhere
    observer: EdgeObserver
    first_retry_seconds: float = FIRST_RETRY_SECONDS  # after the disk failed; doubles
    alive_seconds: float = ALIVE_SECONDS  # between two signs of life in the file
    unix: Callable[[], float] = time.time  # wall clock, seconds

    def __post_init__(self) -> None:
        self._retry_seconds = self.first_retry_seconds
        self._thread = ThreadPoolExecutor(1, "spool", LOG_CAMERA.set, (LOG_CAMERA.get(),))
        self._tasks: set[asyncio.Task[object]] = set()
        self._pending = 0
        self._broken = asyncio.Event()
        self._complained = False  # in the log, since a frame was last kept
        self.arrived = asyncio.Event()  # set when something waits that did not
        self._spool = Spool(None, self.epoch)  # touched on the thread only, from here on
        self.is_up = False  # frames can be kept
        self.frames = 0  # kept now
        self.used_bytes = 0  # of the file

    async def run(self) -> None:
        """Open the file, and again some time after it has failed, until cancelled."""
        began_unix: float | None = self.unix()
        while True:
            self._broken.clear()
            if self.path is not None:
                await self._result(self._submit(self._open_or_settle))
                if not self._broken.is_set():
                    self.is_up = True
                    self.observer.notify(SpoolChanged(True, str(self.path)))
                if began_unix is not None and self._spool.path is not None:  # it can be read
                    self._record_absence(began_unix)
                    began_unix = None
            while not self._broken.is_set():
                self._start(self._mark_alive())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.alive_seconds):
                        await self._broken.wait()
            await asyncio.sleep(self._retry_seconds)
            self._retry_seconds = min(_LAST_RETRY_SECONDS, 2 * self._retry_seconds)

    async def close(self) -> None:
        """Do what was asked for, then unlock the file."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        now_unix = self.unix()
        await self._ask(lambda spool: spool.settle(now_unix))
        await self._result(self._submit(lambda: self._spool.close()))
        self._thread.shutdown()

    def _record_absence(self, began_unix: float) -> None:
        # However short: a frame may have been made after the last sign of life, and died with it.
        ended_unix = self._spool.alive_unix
        if ended_unix is not None and began_unix > ended_unix:
            self.record(Gap(GapReason.STOPPED, ended_unix, began_unix, epoch=self.epoch))

    def _mark_alive(self) -> Coroutine[Any, Any, None]:
        now_unix = self.unix()
        return self._ask(lambda spool: spool.mark_alive(now_unix))

    # --- frames ---

    def keep(self, frame: LedgerFrame) -> None:
        """Keep a frame for later, if there is a disk that is not far behind; see its `spooled`."""
        if self.is_up and self._pending < MAX_PENDING and frame.spooled is None:
            frame.spooled = False
            self._pending += 1
            header, container = frame.header, frame.container  # an Ack empties the frame
            put = self._ask(
                lambda spool: spool.put(header, container) if spool.takes_frames else None
            )
            self._start(self._settle(frame, put))

    def forget(self, epoch: int, sequence: int) -> None:
        """The cloud has the frame."""
        self._start(self._ask(lambda spool: spool.forget(epoch, sequence)))

    def give_up(self, kept: SpooledFrame, reason: GapReason) -> None:
        """The frame can never be sent."""
        self.record(gap_of(reason, kept.epoch, kept.header, len(kept.container)))
        self.forget(kept.epoch, kept.header.sequence)

    def lose_dependents(self) -> None:
        """The cloud has lost its store: what needs a frame that was there is lost with it."""
        self._start(self._lose_dependents())

    async def _lose_dependents(self) -> None:
        for gap in await self._ask(lambda spool: spool.lose_dependents()) or []:
            self.observer.notify(GapRecorded(gap))
            self.arrived.set()

    async def next_frame(self, after_place: int) -> SpooledFrame | None:
        """Give the frame that was kept next after a place, if there is one and the disk works."""
        return await self._ask(lambda spool: spool.next_frame(after_place))

    async def sequences(self, limit: int) -> list[int]:
        """Sequences of this start's frames, those kept first."""
        return await self._ask(lambda spool: spool.sequences(limit)) or []

    # --- gaps ---

    def record(self, gap: Gap) -> None:
        """Keep the record of a gap until the cloud has it."""
        self.observer.notify(GapRecorded(gap))
        self._start(self._settle_gap(self._ask(lambda spool: spool.add_gap(gap))))

    async def next_gap(self, after_number: int) -> Gap | None:
        """Give the record with the lowest number above this one, if there is one."""
        return await self._ask(lambda spool: spool.next_gap(after_number))

    def forget_gap(self, gap: Gap) -> None:
        """The cloud has the record, as it was sent."""
        self._start(self._ask(lambda spool: spool.forget_gap(gap)))

    # --- on the thread, one thing after another ---

    def _start(self, doing: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle_gap(self, recorded: Awaitable[Gap | None]) -> None:
        await recorded
        self.arrived.set()

    async def _settle(self, frame: LedgerFrame, put: Awaitable[list[Gap] | None]) -> None:
        gaps = await put
        self._pending -= 1
        if gaps is None:
            frame.spooled = None  # it may be tried again
            if not self.is_held(frame.sequence):
                header, size_bytes = frame.header, frame.size_bytes
                self.record(gap_of(GapReason.DISK, self.epoch, header, size_bytes))
                self.observer.notify(frame.lost(LossReason.DISK))
            return
        frame.spooled = True
        self._complained = False
        self._retry_seconds = self.first_retry_seconds
        self.arrived.set()
        self.observer.notify(Spooled(frame.sequence, frame.size_bytes))
        for gap in gaps:
            self.observer.notify(GapRecorded(gap))
            self.observer.notify(Lost(gap.first_sequence, _LOSSES[gap.reason]))

    def _ask(self, work: Callable[[Spool], T]) -> Coroutine[Any, Any, T | None]:
        """Put work into the line now, whenever its result is awaited."""

        loop = asyncio.get_running_loop()

        def on_thread() -> T:
            try:
                result = work(self._spool)
            except sqlite3.Error as exc:
                self._leave_disk(exc)
                loop.call_soon_threadsafe(self._fail, exc)
                result = work(self._spool)  # a frame that cannot be kept fails again
            self.frames, self.used_bytes = self._spool.frames, self._spool.used_bytes
            return result

        return self._result(self._submit(on_thread))

    def _submit(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _result(self, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except (sqlite3.Error, OSError) as exc:
            self._fail(exc)
            return None

    def _fail(self, reason: Exception) -> None:
        if not self._complained:
            logger.warning("no spool: frames of an outage are lost", extra={"reason": str(reason)})
        self._complained = True
        self.is_up = False
        self._broken.set()
        self.observer.notify(SpoolChanged(False, str(reason)))

    def _open_or_settle(self) -> None:
        if self._spool.path is not None and not self._spool.frames:
            self._take_away()
        if self._spool.path is None:
            self._open()
        self._spool.settle(self.unix())

    def _take_away(self) -> None:
        """Delete the file; what it has of gaps goes to memory."""
        file, self._spool = self._spool, Spool(None, self.epoch)
        self._spool.take_gaps(file)
        file.close()
        assert file.path is not None, "it was opened"
        for path in (file.path, _log_of(file.path)):
            path.unlink(missing_ok=True)

    def _open(self) -> None:
        path = self.path
        assert path is not None, "only a file is opened"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            disk = self._open_file(path)
        except sqlite3.Error as exc:
            if not _is_damage(exc):
                raise
            _set_aside(path)
            disk = self._open_file(path)
        try:
            disk.take_gaps(self._spool)
        except sqlite3.Error:
            disk.go_read_only()
            disk.take_gaps(self._spool)
        self._spool.close()
        self._spool = disk
        self.frames, self.used_bytes = disk.frames, disk.used_bytes

    def _open_file(self, path: Path) -> Spool:
        return Spool(
            path, self.epoch, max_bytes=self.max_bytes, max_age_seconds=self.max_age_seconds
        )

    def _leave_disk(self, reason: sqlite3.Error) -> None:
        with contextlib.suppress(sqlite3.Error):
            if not self._spool.is_read_only and not _is_damage(reason):
                self._spool.go_read_only()
                return
        with contextlib.suppress(sqlite3.Error):
            self._spool.close()
        self._spool = Spool(None, self.epoch)
        if self.path is not None and _is_damage(reason):
            _set_aside(self.path)


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, not the disk under it."""
    return type(error) is sqlite3.DatabaseError  # the others have classes of their own


def _set_aside(path: Path) -> None:
    aside = path.with_suffix(".damaged")
    logger.error("spool damaged and set aside", extra={"reason": f"{path} is now {aside}"})
    path.replace(aside)
    _log_of(path).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
