"""Frames -> the cloud, within its credit, over one stream after another.

    CONNECTING ─ Hello, Welcome ─► UP ─ stream ends, Drain ─► DOWN ─ random wait ─► CONNECTING ...

Every frame waits its turn, then for room under the credit; so what is on its way is bounded by the
cloud's window and not by the transport's buffers. When the stream ends, the frames that the cloud
has not persisted go to the spool. After a reconnect those that are still in time, or are not on
disk, are sent again, in order and before newer ones; the others are left to the backfill. A refusal
that will not change by itself (another model, say) ends `run` with its error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import google_crc32c

from slimedge.backoff import FullJitter
from slimedge.condition import Condition
from slimedge.event import LinkState, LossReason
from slimedge.gap import Gap
from slimedge.link.answer import AnswerReader, UplinkHandler
from slimedge.link.cloud_channel import CloudEndpoint
from slimedge.link.connection import Connection, DisconnectedError, connect
from slimedge.link.wire import (
    MAX_UNPERSISTED,
    make_enhancement,
    make_frame,
    make_gap,
    make_refusal,
    max_live_level_of,
)
from slimedge.memory.ledger import Ledger, LedgerFrame
from slimedge.memory.spool import SpooledFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)


class Uplink:
    """The edge's end of the wire.

    Args:
        cloud: Where the cloud is.
        hello: Makes what is sent first on a stream, from the sequences that may be persisted.
        ledger: The account that credit and resume are kept in; read by others, written here.
        spool: Keeps what cannot be sent.
        handler: Who is told what comes back.
        may_go: Notified when a frame may go that could not; see `slimedge.condition`.
        deadline_seconds: Age from which a frame travels as backfill; None for never.
        expire_seconds: Age at which a frame is thrown away; None for never.
        backoff: Waits between streams.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        cloud: CloudEndpoint,
        hello: Callable[[Sequence[int]], pb.StreamFramesRequest],
        ledger: Ledger,
        spool: SpoolWorker,
        handler: UplinkHandler,
        may_go: Condition,
        *,
        deadline_seconds: float | None,
        expire_seconds: float | None,
        backoff: FullJitter,
        clock: Callable[[], float],
    ) -> None:
        self._cloud = cloud
        self._hello = hello
        self._ledger = ledger
        self._spool = spool
        self._handler = handler
        self._may_go = may_go
        self._deadline_seconds = deadline_seconds
        self._expire_seconds = expire_seconds
        self._expire_ms = round((expire_seconds or 0) * 1000)
        self._backoff = backoff
        self._clock = clock
        self._connection: Connection | None = None
        self._backlog: deque[LedgerFrame] = deque()  # to be sent again, before any other
        self._turn = asyncio.Lock()  # writes go out one by one, first come first served
        self._answers = AnswerReader(ledger, spool, handler, clock)

    @property
    def is_up(self) -> bool:
        """Whether a stream is open."""
        return self._connection is not None

    @property
    def is_busy(self) -> bool:
        """Whether a live frame is being sent or waits to be."""
        return self._turn.locked() or bool(self._backlog)

    async def run(self) -> None:
        """Keep a stream open until cancelled.

        Raises:
            ModelMismatchError: the cloud reads another model.
            RefusedError: the cloud refuses this camera for good.
        """
        try:
            while True:
                self._handler.on_link(LinkState.CONNECTING, self._cloud.address)
                try:
                    async with connect(self._cloud, await self._make_hello()) as connection:
                        await self._serve(connection)
                except DisconnectedError as exc:
                    wait = self._next_wait()
                    self._handler.on_link(LinkState.DOWN, f"{exc}; again in {wait:.1f} s")
                    logger.warning("uplink down", extra={"reason": str(exc), "seconds": wait})
                    await asyncio.sleep(wait)
        finally:
            self._handler.on_link(LinkState.STOPPED, "")

    async def send(self, frame: LedgerFrame) -> None:
        """Send one frame when its turn comes and the credit allows it.

        Returns when it was handed to the transport, or lost (the handler is told why), or kept for
        the next stream because this one has ended.
        """
        try:
            async with self._turn:
                await self._send_backlog()
                await self._send_in_turn(frame)
        except asyncio.CancelledError:
            if not self._ledger.holds(frame.sequence):  # it was not its turn yet
                self._keep(frame)
            raise

    async def send_enhancement(self, request_id: str, sequence: int, container: bytes) -> None:
        """Send an enhancement under the same credit.

        Raises:
            DisconnectedError: the stream has ended; the cloud must ask again.
        """
        async with self._turn:
            connection = await self._wait_for_room(len(container))
            if connection is None:
                raise DisconnectedError("the stream ended before the enhancement was sent")
            self._ledger.send_enhancement(request_id, len(container))
            crc32c = google_crc32c.value(container)
            await connection.write(make_enhancement(sequence, container, crc32c, request_id))

    async def send_kept(self, kept: SpooledFrame) -> None:
        """Send a frame of the spool; the caller has seen that there is room.

        Raises:
            DisconnectedError: the stream has ended.
        """
        epoch = self._epoch_on_wire(kept.epoch)
        self._ledger.send_backfill(epoch, kept.header.sequence, len(kept.container), self._clock())
        await self._say(make_frame(kept.header, kept.container, late=True, epoch=epoch))

    async def send_gap(self, gap: Gap) -> None:
        """Send the record of a gap; raises as `send_kept`."""
        await self._say(make_gap(gap, self._epoch_on_wire(gap.epoch)))

    async def refuse(self, request_id: str, detail: str) -> None:
        """Tell the cloud that its command cannot be carried out."""
        with suppress(DisconnectedError):
            await self._say(make_refusal(request_id, detail))

    async def _say(self, message: pb.StreamFramesRequest) -> None:
        async with self._turn:
            if self._connection is None:
                raise DisconnectedError("the stream has ended")
            await self._connection.write(message)

    def _epoch_on_wire(self, epoch: int) -> int:
        return 0 if epoch == self._spool.epoch else epoch

    async def _make_hello(self) -> pb.StreamFramesRequest:
        in_doubt = [frame.sequence for frame in self._ledger.unpersisted]
        kept = await self._spool.sequences(MAX_UNPERSISTED)
        return self._hello(list(dict.fromkeys([*in_doubt, *kept])))

    async def _serve(self, connection: Connection) -> None:
        welcome = connection.welcome
        self._ledger.credit_bytes = welcome.credit_bytes
        self._ledger.max_frame_bytes = welcome.max_frame_bytes
        self._answers.begin()
        self._resume(welcome)
        self._connection = connection
        self._handler.on_connected(connection.round_trip_seconds, max_live_level_of(welcome))
        self._handler.on_link(LinkState.UP, self._cloud.address)
        self._may_go.notify_all()
        flush = asyncio.create_task(self._flush())
        try:
            while self._answers.drain is None:
                again = self._answers.take(await connection.read())
                if again is not None:
                    self._backlog.append(again)
                self._backoff.reset()  # an answer, not only a Welcome: the cloud means it
                self._may_go.notify_all()
                if (self._backlog or self._answers.replies) and flush.done():
                    flush = asyncio.create_task(self._flush())
            await self._hear_the_rest(connection, self._answers.drain.grace_seconds)
            raise DisconnectedError("the cloud is about to stop")
        finally:
            self._connection = None
            self._ledger.disconnect()
            for frame in self._ledger.unpersisted:
                self._spool.keep(frame)
            for frame in self._backlog:
                self._keep(frame)
            self._backlog.clear()
            self._may_go.notify_all()
            flush.cancel()
            with suppress(asyncio.CancelledError):
                await flush

    def _resume(self, welcome: pb.Welcome) -> None:
        """Decide what is sent again as it was meant, before anything newer."""
        for sequence in welcome.persisted_sequences:
            self._spool.forget(self._spool.epoch, sequence)
        now = self._clock()
        for frame in self._ledger.resume(set(welcome.persisted_sequences).__contains__):
            if not (frame.spooled and self._is_late(now - frame.header.capture_time_mono)):
                self._backlog.append(frame)

    async def _hear_the_rest(self, connection: Connection, seconds: float) -> None:
        """Send nothing new, and hear what the cloud says of what was sent."""
        self._connection = None
        self._may_go.notify_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._ledger.is_answered:
                    again = self._answers.take(await connection.read())
                    if again is not None:
                        self._keep(again)
                    self._may_go.notify_all()

    async def _flush(self) -> None:
        async with self._turn:
            await self._send_backlog()

    async def _send_backlog(self) -> None:
        while self._answers.replies and self._connection is not None:
            with suppress(DisconnectedError):
                await self._connection.write(self._answers.replies.popleft())
        while self._backlog:
            await self._send_in_turn(self._backlog.popleft())

    async def _send_in_turn(self, frame: LedgerFrame) -> None:
        if 0 < self._ledger.max_frame_bytes < frame.size_bytes:
            self._handler.on_lost(frame, LossReason.TOO_LARGE)
            return
        try:
            connection = await self._wait_for_room(frame.size_bytes)
        except asyncio.CancelledError:
            self._keep(frame)
            raise
        if connection is None:
            self._keep(frame)
            return
        now = self._clock()
        age = now - frame.header.capture_time_mono
        if self._expire_seconds is not None and age > self._expire_seconds:
            self._spool.keep(frame)
            if frame.spooled is None:
                self._handler.on_lost(frame, LossReason.EXPIRED)
            return
        self._lose(self._ledger.send(frame, now))
        try:
            late = self._is_late(age)
            message = make_frame(frame.header, frame.container, self._expire_ms, late=late)
            await connection.write(message)
        except DisconnectedError:
            return  # the ledger has it and gives it to the next stream
        self._handler.on_sent(frame)

    async def _wait_for_room(self, size_bytes: int) -> Connection | None:
        """Wait until the credit allows so many bytes; the stream, or None once it has ended."""
        connection = self._connection
        while not self._ledger.has_room(size_bytes):
            if connection is None or connection is not self._connection:
                return None
            await self._may_go.wait()
        return connection if connection is self._connection else None

    def _keep(self, frame: LedgerFrame) -> None:
        self._spool.keep(frame)
        self._lose(self._ledger.keep(frame))

    def _lose(self, given_up: Sequence[LedgerFrame]) -> None:
        for frame in given_up:
            if frame.spooled is None:
                self._handler.on_lost(frame, LossReason.RESEND_FULL)

    def _is_late(self, age_seconds: float) -> bool:
        return self._deadline_seconds is not None and age_seconds > self._deadline_seconds

    def _next_wait(self) -> float:
        asked = self._answers.drain
        self._answers.begin()
        return self._backoff.next_seconds() + (asked.reconnect_seconds if asked else 0.0)
