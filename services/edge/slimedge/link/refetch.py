"""The enhancement of a recent frame, because a person looks at it or triage saw something in it:
made from the original, then sent.

Command ─► queue (bounded) ─► originals ─► encoder ─► uplink ─► Enhancement
                │ full, late   │ gone         │ refuses   │ stream ended: again on the next one
                └──────────────┴──────────────┴──────────► Refusal, with the reason for people

A command that is told again while it waits or is carried out is not carried out twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from slimcodec.errors import CodecError
from slimedge.encode.worker import EncodeWorker
from slimedge.event import EdgeObserver, Refetched, RefetchRefused
from slimedge.link.connection import DisconnectedError
from slimedge.link.uplink import Uplink
from slimedge.link.wire import Refetch
from slimedge.memory.ledger import Ledger
from slimedge.memory.originals import Originals

MAX_WAITING = 1024  # commands, of a few bytes each; the cloud asks once per frame


class _CannotError(Exception):
    """The reason for a refusal, for people."""


@dataclass(eq=False)
class Refetcher:
    """Carries out refetch commands one after another."""

    originals: Originals
    worker: EncodeWorker
    ledger: Ledger
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds

    def __post_init__(self) -> None:
        # twice as many, so that those that are too many are refused and not forgotten
        self._waiting: asyncio.Queue[Refetch] = asyncio.Queue(2 * MAX_WAITING)
        self._asked: set[str] = set()  # requests that wait or are carried out

    def ask(self, refetch: Refetch) -> None:
        """Take a command for an enhancement; returns at once."""
        if refetch.request_id not in self._asked and not self._waiting.full():
            self._asked.add(refetch.request_id)
            self._waiting.put_nowait(refetch)

    async def run(self, uplink: Uplink) -> None:
        """Work until cancelled."""
        while True:
            asked = await self._waiting.get()
            try:
                if self._waiting.qsize() >= MAX_WAITING:
                    raise _CannotError("too many requests wait")
                await self._carry_out(asked, uplink)
            except _CannotError as exc:
                self.observer.notify(RefetchRefused(asked.request_id, asked.sequence, str(exc)))
                await uplink.refuse(asked.request_id, str(exc))
            self._asked.discard(asked.request_id)

    async def _carry_out(self, asked: Refetch, uplink: Uplink) -> None:
        self._check_time(asked)
        kept = await self.originals.get(asked.sequence)
        if kept is None:
            oldest = self.originals.oldest
            raise _CannotError(
                f"frame {asked.sequence} has left the camera's memory; its oldest is {oldest}"
            )
        try:
            enhancement = await self.worker.enhance(
                kept.image, kept.base, kept.held, asked.level, asked.quality
            )
        except CodecError as exc:
            raise _CannotError(str(exc)) from exc
        size_bytes = len(enhancement.bitstream)
        while True:
            if 0 < self.ledger.max_frame_bytes < size_bytes:
                raise _CannotError(
                    f"the enhancement takes {size_bytes} bytes; the cloud allows "
                    f"{self.ledger.max_frame_bytes}"
                )
            try:
                await uplink.send_enhancement(
                    asked.request_id, asked.sequence, enhancement.bitstream
                )
            except DisconnectedError:
                while not uplink.is_up:
                    await self.ledger.may_go.wait()
                self._check_time(asked)
                continue
            break
        self.observer.notify(
            Refetched(asked.request_id, asked.sequence, enhancement.level, size_bytes)
        )

    def _check_time(self, asked: Refetch) -> None:
        if self.clock() > asked.expires:
            raise _CannotError("nobody waits for it any more: the link or the encoder is too slow")
