"""The enhancement of a recent frame, because a person looks at it: made from the ring, then sent.

Command ─► queue (bounded) ─► ring ─► encoder ─► uplink ─► Enhancement
                │ full         │ gone    │ refuses   │ stream ended: again on the next one
                └──────────────┴─────────┴──────────► Refusal, with the reason for people
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from slimcodec.errors import CodecError
from slimedge.change import Change
from slimedge.connection import DisconnectedError
from slimedge.encode import EncodeWorker
from slimedge.event import EdgeObserver, Refetched, RefetchRefused
from slimedge.ledger import Ledger
from slimedge.ring import FrameRing
from slimedge.uplink import Uplink

logger = logging.getLogger(__name__)

MAX_WAITING = 1024  # commands, of a few bytes each; the cloud asks once per frame


@dataclass(frozen=True, slots=True)
class _Asked:
    request_id: str
    sequence: int


class _CannotError(Exception):
    """The reason for a refusal, for people."""


class Refetcher:
    """Carries out refetch commands one after another."""

    def __init__(
        self,
        ring: FrameRing,
        worker: EncodeWorker,
        ledger: Ledger,
        observer: EdgeObserver,
        change: Change,
    ) -> None:
        self._ring = ring
        self._worker = worker
        self._ledger = ledger
        self._observer = observer
        self._change = change
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue(MAX_WAITING)

    def ask(self, request_id: str, sequence: int) -> None:
        """Take a command; returns at once."""
        asked = _Asked(request_id, sequence)
        try:
            self._waiting.put_nowait(asked)
        except asyncio.QueueFull:
            logger.warning("refetch passed over", extra={"reason": f"{MAX_WAITING} are waiting"})
            self._observer.notify(RefetchRefused(request_id, sequence, "too many requests"))

    async def run(self, uplink: Uplink) -> None:
        """Work until cancelled."""
        while True:
            asked = await self._waiting.get()
            try:
                await self._carry_out(asked, uplink)
            except _CannotError as exc:
                await uplink.refuse(asked.request_id, str(exc))
                self._observer.notify(RefetchRefused(asked.request_id, asked.sequence, str(exc)))

    async def _carry_out(self, asked: _Asked, uplink: Uplink) -> None:
        kept = self._ring.get(asked.sequence)
        if kept is None:
            oldest = self._ring.oldest
            raise _CannotError(
                f"frame {asked.sequence} has left the camera's memory; its oldest is {oldest}"
            )
        try:
            enhancement = await self._worker.enhance(kept)
        except CodecError as exc:
            raise _CannotError(str(exc)) from exc
        size_bytes = len(enhancement.bitstream)
        while True:
            if 0 < self._ledger.max_frame_bytes < size_bytes:
                raise _CannotError(
                    f"the enhancement takes {size_bytes} bytes; the cloud allows "
                    f"{self._ledger.max_frame_bytes}"
                )
            try:
                await uplink.send_enhancement(
                    asked.request_id, asked.sequence, enhancement.bitstream
                )
            except DisconnectedError:
                while not uplink.is_up:
                    await self._change.wait()
                continue
            break
        self._observer.notify(
            Refetched(asked.request_id, asked.sequence, enhancement.level, size_bytes)
        )
