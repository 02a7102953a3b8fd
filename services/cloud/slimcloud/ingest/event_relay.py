"""What cameras are told that they did not just ask: answers to the store's feed, and the window.

One relay serves every stream of a process.

`frame.*` are written where an outcome is stored: `announce` in `slimcloud.store.scripts`, for
`Store.put_detections`, `set_dropped`, `set_failed`. The others come from `Feed.add`.

frame.detected      ─► Ack DETECTED with the detections
frame.backfilled    ─► the same
frame.dropped       ─► Nack EXPIRED
frame.failed        ─► Nack DECODE
refetch.requested   ─► Command: send the enhancement
budget.requested    ─► Command: keep to this budget
camera.connected    ─► the older connection of that camera, if it is ours, ends with ABORTED
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from redis.exceptions import RedisError

from slimcloud.errors import CloudError
from slimcloud.frame_id import FrameId
from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.commands import send_commands
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.ingest.refusals import refusal_of_outcome
from slimcloud.settings import CloudSettings
from slimcloud.store.feed import FeedEntry, FeedKind, entry_order
from slimcloud.store.frames import Store
from slimcloud.store.records import Lane
from slimwire.v1 import ingest_pb2 as pb

logger = logging.getLogger(__name__)

_BLOCK_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_COUNT = 200
PAUSE_SECONDS = 0.25  # between two looks at the queue: an XLEN, an HGETALL, an HGET
_NEWS = 0.05  # of what a camera is granted: it is told of larger changes
_CLOSE_AT = 0.9  # of the queue
_OPEN_AT = 0.5


def supersede(stream: CameraStream) -> None:
    """End a stream because its camera has connected anew."""
    stream.end(
        grpc.StatusCode.ABORTED, f"camera {stream.camera_id} has connected again; the newer counts"
    )


@dataclass(frozen=True, eq=False)
class EventRelay:
    """Reads the feed and answers the streams of one process."""

    store: Store
    streams: Mapping[str, CameraStream]  # by camera; the servicer's own
    metrics: IngestMetrics

    async def run(self, after: str) -> None:
        """Follow the feed after the id `after` until cancelled."""
        while True:
            try:
                entries = await self.store.feed.read(
                    after, count=_COUNT, block_seconds=_BLOCK_SECONDS
                )
                for entry in entries:
                    stream = self.streams.get(entry.camera_id)
                    if stream is not None:
                        await self._answer(stream, entry)
                    after = entry.entry_id
            except RedisError as exc:
                logger.warning("the feed does not answer: %s", exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _answer(self, stream: CameraStream, entry: FeedEntry) -> None:
        if entry.kind is FeedKind.CAMERA_CONNECTED:
            is_newer = entry_order(entry.entry_id) > entry_order(stream.connect_entry_id)
            if stream.connect_entry_id and is_newer:
                supersede(stream)
        elif entry.kind in (FeedKind.REFETCH_REQUESTED, FeedKind.BUDGET_REQUESTED):
            await send_commands(self.store, stream)
        elif entry.frame_id is not None and entry.frame_id.epoch == stream.epoch:
            await self._answer_outcome(stream, entry, entry.frame_id)

    async def _answer_outcome(
        self, stream: CameraStream, entry: FeedEntry, frame_id: FrameId
    ) -> None:
        sequence = frame_id.sequence
        if entry.kind in (FeedKind.FRAME_DETECTED, FeedKind.FRAME_BACKFILLED):
            try:
                result = await self.store.get_detections(frame_id)
                record = await self.store.get_frame(frame_id)
            except CloudError as exc:  # retention was faster
                logger.warning("a result is gone before it was answered: %s", exc)
            else:
                stream.ack(sequence, pb.STAGE_DETECTED, result)
                self.metrics.answer_seconds.observe(record.waited_us(self.store.clock()) / 1e6)
            stream.settle(sequence)
        elif entry.kind in (FeedKind.FRAME_DROPPED, FeedKind.FRAME_FAILED):
            is_dropped = entry.kind is FeedKind.FRAME_DROPPED
            refusal = refusal_of_outcome(entry.detail, is_dropped=is_dropped)
            stream.nack(sequence, refusal)
            self.metrics.refused.labels(refusal.reason).inc()
            stream.settle(sequence)


class CreditControl:
    """Tells each camera of one process its share of the detectors' time while results are late, and
    how many bytes it may have under way: all of its window, or none while the queue is full and it
    has half of its share in it.

        frames that wait   0 ──────── half ──────────────── nine tenths ─── max_queue_size
        window             credit_bytes ────────────► 0 ─────────────────► and Nack QUEUE_FULL
                           credit_bytes ◄──────────── 0

    A Nack costs the bytes that it refuses; a window of 0 costs nothing, and a camera with a spool
    keeps its pictures meanwhile. A window that is closed opens again at half of what closed it, so
    that it does not flutter.
    Cameras that have frames in the queue share it by weight: others need not wait.

    Args:
        streams: by camera; the servicer's own, told when either changes.
    """

    def __init__(
        self, store: Store, streams: Mapping[str, CameraStream], settings: CloudSettings
    ) -> None:
        self._store = store
        self._streams = streams
        self._open_bytes = settings.credit_bytes
        self._max_queue_size = settings.max_queue_size
        self._is_full = False

    def credit_bytes(self, stream: CameraStream) -> int:
        """The window of a camera now, bytes."""
        return 0 if stream.is_held else self._open_bytes

    async def follow_queue(self) -> None:
        """Look at the queue once; every `PAUSE_SECONDS`."""
        outstanding = await self._store.work.outstanding(Lane.LIVE)
        mark = _OPEN_AT if self._is_full else _CLOSE_AT
        self._is_full = outstanding >= mark * self._max_queue_size
        untaken = await self._store.work.untaken() if self._is_full else {}
        weights = await self._store.cameras.weights()
        self.follow(untaken, await self._store.work.granted(weights), weights)

    def follow(
        self, untaken: Mapping[str, int], granted: int, weights: Mapping[str, float]
    ) -> None:
        """Close the windows of cameras with much in a full queue, open those of the others, and
        tell all what they are granted.

        Args:
            untaken: frames that wait, by camera; none where the queue is not full.
            granted: pixels per second for a weight of 1; 0 = all that they send.
            weights: of cameras; 1 where absent.
        """
        waiting = sum(weights.get(camera, 1.0) for camera in untaken) or 1.0
        for stream in self._streams.values():
            weight = weights.get(stream.camera_id, 1.0)
            pixels, share = round(granted * weight), self._max_queue_size * weight / waiting
            frames = untaken.get(stream.camera_id, 0)
            hold = bool(frames) and frames >= _OPEN_AT * share / (1 + stream.is_held)
            if hold != stream.is_held:
                stream.is_held = hold
                logger.warning(
                    "%d frames wait for the detector: the camera %s",
                    frames,
                    "is to wait" if hold else "may send again",
                    extra={"camera_id": stream.camera_id},
                )
            elif abs(pixels - stream.pixels_per_second) <= _NEWS * stream.pixels_per_second:
                continue
            stream.pixels_per_second = pixels
            credit = pb.Credit(credit_bytes=self.credit_bytes(stream), pixels_per_second=pixels)
            stream.answer(pb.StreamFramesResponse(credit=credit))
