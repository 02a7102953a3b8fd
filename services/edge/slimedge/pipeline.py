"""One frame after another: mailbox -> decision -> encoder -> uplink.

    newest frame ─► may it go? ──no──► keep it, wait for an ack or a newer frame
                        │yes
                        └─► encode at (level, quality) ─► ring ─► uplink

The encoder is never ahead of the link: a frame is encoded only when the link is up and the
controller finds a point that meets the deadline and every budget, or wants a probe. While the link
is down, frames are encoded for the spool, a few each second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import google_crc32c

from slimcodec.errors import CodecError
from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimcontrol.policy import Decision, Offer, Verdict
from slimedge.capture.frame import CapturedFrame
from slimedge.capture.mailbox import Mailbox
from slimedge.condition import Condition
from slimedge.encode.calibration import EncodeCalibration, warm_up
from slimedge.encode.worker import EncodeWorker, scaled_pixels
from slimedge.event import (
    Captured,
    EdgeObserver,
    Encoded,
    LossReason,
    Lost,
    Replaced,
    Skipped,
    SkipReason,
)
from slimedge.frame_header import FrameHeader, micros_of, uint32_of
from slimedge.link.uplink import Uplink
from slimedge.memory.ledger import Ledger, LedgerFrame
from slimedge.memory.ring import FrameRing, KeptFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.settings import EdgeSettings
from slimops.tracing import make_traceparent, record_span

logger = logging.getLogger(__name__)

_RESULT_OVERDUE_SECONDS = 30.0  # a received frame without a result is given up then


class Pipeline:
    """The edge's main loop.

    Args:
        settings: Of the edge.
        worker: Encodes.
        calibration: Knows what that takes, or learns it from the first picture.
        controller: Decides.
        ledger, uplink, spool: Where frames go.
        budget: That frames must keep to.
        ring: Keeps what was encoded.
        observer: Is told events.
        may_go: Notified when a frame may go that could not; see `slimedge.condition`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        worker: EncodeWorker,
        calibration: EncodeCalibration,
        controller: Controller,
        ledger: Ledger,
        uplink: Uplink,
        spool: SpoolWorker,
        budget: BudgetAccount,
        ring: FrameRing,
        observer: EdgeObserver,
        may_go: Condition,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._calibration = calibration
        self._controller = controller
        self._ledger = ledger
        self._uplink = uplink
        self._spool = spool
        self._budget = budget
        self._ring = ring
        self._observer = observer
        self._may_go = may_go
        self._clock = clock
        self._mailbox: Mailbox[CapturedFrame] = Mailbox()
        self._sequence = 0
        self._next_due = 0.0  # monotonic seconds of the next frame at `max_fps`
        self._next_for_later = 0.0  # the same, at `spool_fps`

    def deliver(self, frame: CapturedFrame) -> None:
        """Take a frame from the camera (on the event loop)."""
        if self._mailbox.closed:
            return
        self._observer.notify(Captured(frame.sequence, frame.image_hw))
        replaced = self._mailbox.put(frame)
        if replaced is not None:
            self._observer.notify(Replaced(replaced.sequence))
        self._may_go.notify_all()

    def end(self) -> None:
        """No more frames will come; `run` returns after the last one."""
        self._mailbox.close()
        self._may_go.notify_all()

    async def run(self, warm_up_points: Sequence[OperatingPoint]) -> None:
        """Send frames until the camera has ended and its last frame is dealt with.

        Args:
            warm_up_points: Encoded once with the first picture, to compile graphs and learn times.
        """
        first = await self._wait_for_frame()
        if first is None:
            return
        await self._warm_up(first, warm_up_points)
        frame: CapturedFrame | None = self._newer(first, SkipReason.WARM_UP) or first
        while frame is not None:
            await self._send_it_or_a_newer(frame)
            await self._pace()
            frame = await self._wait_for_frame()

    async def drain(self) -> None:
        """Wait until every sent frame has its result."""
        while self._ledger.undetected_frames:
            await self._may_go.wait()

    def give_up(self) -> None:
        """Keep for another start what the cloud does not have, at the very end."""
        for frame in self._ledger.unpersisted:
            self._spool.keep(frame)
            if frame.spooled is None:
                self._observer.notify(Lost(frame.sequence, LossReason.STOPPED))

    async def _send_it_or_a_newer(self, frame: CapturedFrame) -> None:
        while isinstance(decision := self._decide(frame), SkipReason):
            await self._may_go.wait()
            frame = self._newer(frame, decision) or frame
        await self._send(frame, decision)

    def _decide(self, frame: CapturedFrame) -> Decision | SkipReason:
        now = self._clock()
        for overdue in self._ledger.forget(now - _RESULT_OVERDUE_SECONDS):
            self._observer.notify(Lost(overdue.sequence, LossReason.NO_RESULT))
        pixels = scaled_pixels(frame.image_hw, self._settings.max_edge)
        if not self._uplink.is_up:
            return self._decide_for_later(now, pixels)
        return _or_its_reason(
            self._controller.decide(
                Offer(
                    now,
                    now - frame.capture_time_mono,
                    pixels,
                    self._ledger.view(now),
                    self._budget.view(),
                )
            )
        )

    def _decide_for_later(self, now: float, pixels: int) -> Decision | SkipReason:
        if not self._spool.is_up:
            return SkipReason.LINK_DOWN
        if now < self._next_for_later:
            return SkipReason.OUTAGE
        frame_seconds = 1 / self._settings.spool_fps
        self._next_for_later = now + frame_seconds
        return _or_its_reason(self._controller.decide_for_later(now, pixels, frame_seconds))

    async def _send(self, frame: CapturedFrame, decision: Decision) -> None:
        point = decision.point
        assert point is not None, "only a skip has no point"
        waited = self._clock() - frame.capture_time_mono
        link_rate = self._controller.planned_bytes_per_second  # as the decision saw it
        try:
            result = await self._worker.encode(frame.image, point.level, point.quality)
        except CodecError as exc:
            logger.error("frame not encoded", extra={"reason": str(exc)})
            self._observer.notify(Skipped(frame.sequence, SkipReason.ENCODE_FAILED))
            return
        height, width = result.image.shape[:2]
        container = result.encoded.bitstream
        self._controller.on_encoded(
            point.level, point.quality, height * width, len(container), result.seconds
        )
        self._sequence += 1
        sequence = self._sequence
        self._ring.add(KeptFrame(sequence, result.image, container, point.level, point.quality))
        self._observer.notify(
            Encoded(
                frame=frame.sequence,
                sequence=sequence,
                level=point.level,
                quality=point.quality,
                bitstream_bytes=len(container),
                image=result.image,
                wait_seconds=waited,
                encode_seconds=result.seconds,
                probe=decision.verdict is Verdict.PROBE,
            )
        )
        traceparent = make_traceparent()
        record_span("encode", traceparent, result.seconds)
        await self._uplink.send(
            LedgerFrame(
                FrameHeader(
                    sequence=sequence,
                    capture_time_unix_us=micros_of(frame.capture_time_unix),
                    capture_time_mono_us=micros_of(frame.capture_time_mono),
                    container_crc32c=google_crc32c.value(container),
                    traceparent=traceparent,
                    link_bytes_per_second=uint32_of(link_rate),
                ),
                container,
                encoded_at=self._clock(),
            )
        )
        record_span("capture", traceparent, self._clock() - frame.capture_time_mono, is_root=True)

    async def _warm_up(self, frame: CapturedFrame, points: Sequence[OperatingPoint]) -> None:
        levels = [(point.level, point.quality) for point in points]
        warmed = await warm_up(self._worker, self._calibration, frame.image, levels)
        for (level, quality), (result, seconds) in zip(levels, warmed, strict=True):
            height, width = result.image.shape[:2]
            size_bytes = len(result.encoded.bitstream)
            self._controller.on_encoded(level, quality, height * width, size_bytes, seconds)

    async def _wait_for_frame(self) -> CapturedFrame | None:
        while (frame := self._mailbox.take()) is None and not self._mailbox.closed:
            await self._may_go.wait()
        return frame

    def _newer(self, frame: CapturedFrame, reason: SkipReason) -> CapturedFrame | None:
        newer = self._mailbox.take()
        if newer is not None:
            self._observer.notify(Skipped(frame.sequence, reason))
        return newer

    async def _pace(self) -> None:
        now = self._clock()
        if now < self._next_due:
            await asyncio.sleep(self._next_due - now)
        interval = 1 / self._settings.max_fps
        self._next_due = max(self._next_due + interval, self._clock())


def _or_its_reason(decision: Decision) -> Decision | SkipReason:
    return decision if decision.reason is None else SkipReason(decision.reason)
