"""How many bytes cameras may have under way: all of their window, or none while the queue is full.

    frames that wait   0 ──────── half ──────────────── nine tenths ─── max_queue_size
    window             credit_bytes ────────────► 0 ─────────────────► and Nack QUEUE_FULL
                       credit_bytes ◄──────────── 0

A Nack costs the bytes that it refuses; a window of 0 costs nothing, and a camera with a spool keeps
its pictures meanwhile. Between the two marks the window stays as it was, so that it does not
flutter.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping

from redis.exceptions import RedisError

from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.store.frames import Store
from slimcloud.store.records import Lane
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.25  # between two looks at the queue: one XLEN
_CLOSE_AT = 0.9  # of the queue
_OPEN_AT = 0.5


class CreditControl:
    """The window of every camera of one process.

    Args:
        streams: by camera; the servicer's own, told when the window changes.
        credit_bytes: the window while there is room.
        max_queue_size: frames that may wait for the detector.
    """

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, CameraStream],
        *,
        credit_bytes: int,
        max_queue_size: int,
    ) -> None:
        self._store = store
        self._streams = streams
        self._open_bytes = credit_bytes
        self._close_at = math.ceil(_CLOSE_AT * max_queue_size)
        self._open_at = math.floor(_OPEN_AT * max_queue_size)
        self.is_closed = False

    @property
    def credit_bytes(self) -> int:
        """The window now, bytes."""
        return 0 if self.is_closed else self._open_bytes

    async def run(self) -> None:
        """Follow the queue until cancelled."""
        while True:
            try:
                self.follow(await self._store.work.outstanding(Lane.LIVE))
            except RedisError as exc:
                logger.warning("the work queue does not answer: %s", exc)
            await asyncio.sleep(_PAUSE_SECONDS)

    def follow(self, waiting_frames: int) -> None:
        """Close or open the window as the queue's length asks for, and tell every camera."""
        close = waiting_frames >= self._close_at
        if close == self.is_closed or (self.is_closed and waiting_frames > self._open_at):
            return
        self.is_closed = close
        logger.warning(
            "%d frames wait for the detector: cameras %s",
            waiting_frames,
            "are to wait" if close else "may send again",
        )
        credit = pb.Credit(credit_bytes=self.credit_bytes)
        for stream in self._streams.values():
            stream.answer(pb.StreamFramesResponse(credit=credit))
