"""A frame that may go -> a frame on its way: encoded, kept for a refetch, numbered, described.

CapturedFrame, (level, quality) ─► worker ─► container ─► LedgerFrame(header, container)
                                                └► ring   └► Encoded; the controller learns
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import google_crc32c

from slimcodec.errors import CodecError
from slimcontrol.controller import Controller, Decision, Verdict
from slimcontrol.point import OperatingPoint
from slimedge.capture.frame import CapturedFrame
from slimedge.encode.calibration import EncodeCalibration, warm_up
from slimedge.encode.worker import EncodeWorker
from slimedge.event import EdgeObserver, Encoded, Skipped, SkipReason
from slimedge.frame_header import FrameHeader, micros_of, uint32_of
from slimedge.memory.ledger import LedgerFrame
from slimedge.memory.ring import FrameRing, KeptFrame
from slimops.tracing import make_traceparent, record_span

logger = logging.getLogger(__name__)


class EncodeStage:
    """Encodes frames one after another.

    Args:
        worker: Runs the encoder.
        calibration: Knows what that takes, or learns it from the first picture.
        controller: Learns what it took.
        ring: Keeps what was encoded.
        observer: Is told events.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        worker: EncodeWorker,
        calibration: EncodeCalibration,
        controller: Controller,
        ring: FrameRing,
        observer: EdgeObserver,
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._calibration = calibration
        self._controller = controller
        self._ring = ring
        self._observer = observer
        self._clock = clock
        self._sequence = 0

    async def warm_up(self, frame: CapturedFrame, points: Sequence[OperatingPoint]) -> None:
        """Encode a picture once at each point, to compile graphs and learn times."""
        levels = [(point.level, point.quality) for point in points]
        warmed = await warm_up(self._worker, self._calibration, frame.image, levels)
        for (level, quality), (result, seconds) in zip(levels, warmed, strict=True):
            height, width = result.image.shape[:2]
            size_bytes = len(result.encoded.bitstream)
            self._controller.on_encoded(level, quality, height * width, size_bytes, seconds)

    async def encode(self, frame: CapturedFrame, decision: Decision) -> LedgerFrame | None:
        """The frame as it goes to the cloud; None where the encoder refuses its picture."""
        point = decision.point
        assert point is not None, "only a skip has no point"
        waited = self._clock() - frame.capture_time_mono
        link_rate = self._controller.planned_bytes_per_second  # as the decision saw it
        try:
            result = await self._worker.encode(frame.image, point.level, point.quality)
        except CodecError as exc:
            logger.error("frame not encoded", extra={"reason": str(exc)})
            self._observer.notify(Skipped(frame.sequence, SkipReason.ENCODE_FAILED))
            return None
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
        header = FrameHeader(
            sequence=sequence,
            capture_time_unix_us=micros_of(frame.capture_time_unix),
            capture_time_mono_us=micros_of(frame.capture_time_mono),
            container_crc32c=google_crc32c.value(container),
            traceparent=traceparent,
            link_bytes_per_second=uint32_of(link_rate),
        )
        return LedgerFrame(header, container, encoded_at=self._clock())
