"""A frame that may go -> a frame on its way: encoded, kept for a refetch, numbered, described.

CapturedFrame, (level, quality) ─► worker ─► container ─► LedgerFrame(header, container)
                                                └► ring   └► Encoded; the controller learns

What has left the ring is gone: the cloud is told so and keeps the picture that it has.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import CodecError
from slimcontrol.controller import Controller, Decision, Verdict
from slimcontrol.point import OperatingPoint
from slimedge.encode.calibration import EncodeCalibration, warm_up
from slimedge.encode.worker import EncodedFrame, EncodeWorker
from slimedge.event import EdgeObserver, Encoded, Skipped, SkipReason
from slimedge.frame import CapturedFrame, FrameHeader, micros_of
from slimedge.memory.ledger import LedgerFrame
from slimops.tracing import make_traceparent, record_span

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """What an enhancement is made from: the picture, and the base that was sent."""

    sequence: int
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    base: bytes

    @property
    def size_bytes(self) -> int:
        """Memory of the picture and the base, bytes."""
        return self.image.nbytes + len(self.base)


class FrameRing:
    """The last frames by wire sequence, bounded by frames and by bytes; the oldest leave first."""

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._frames: OrderedDict[int, KeptFrame] = OrderedDict()
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def add(self, frame: KeptFrame) -> None:
        """Keep the newest frame; older ones leave to make room, and it does if it is too large."""
        self._frames[frame.sequence] = frame
        self.size_bytes += frame.size_bytes
        while len(self._frames) > self._max_frames or self.size_bytes > self._max_bytes:
            _, oldest = self._frames.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def get(self, sequence: int) -> KeptFrame | None:
        """The frame with this sequence, or None if it has left or never was."""
        return self._frames.get(sequence)

    @property
    def oldest(self) -> int | None:
        """Sequence of the oldest kept frame."""
        return next(iter(self._frames), None)


@dataclass(eq=False, kw_only=True)
class EncodeStage:
    """Encodes frames one after another."""

    worker: EncodeWorker
    calibration: EncodeCalibration  # knows what encoding takes, or learns it from the first picture
    controller: Controller
    ring: FrameRing
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds

    def __post_init__(self) -> None:
        self._sequence = 0

    async def warm_up(self, frame: CapturedFrame, points: Sequence[OperatingPoint]) -> None:
        """Encode a picture once at each point, to compile graphs and learn times."""
        levels = [(point.level, point.quality) for point in points]
        warmed = await warm_up(self.worker.encode, self.calibration, frame.image, levels)
        for result, seconds in warmed:
            self._learn(result, seconds)

    async def encode(self, frame: CapturedFrame, decision: Decision) -> LedgerFrame | None:
        """The frame as it goes to the cloud; None where the encoder refuses its picture."""
        point = decision.point
        assert point is not None, "only a skip has no point"
        waited = self.clock() - frame.capture_time_mono
        link_rate = self.controller.rate.safe  # as the decision saw it
        try:
            result = await self.worker.encode(frame.image, point.level, point.quality)
        except CodecError as exc:
            logger.error("frame not encoded", extra={"reason": str(exc)})
            self.observer.notify(Skipped(frame.sequence, SkipReason.ENCODE_FAILED))
            return None
        self._learn(result, result.seconds)
        container = result.encoded.bitstream
        # As its source counts it, where each start counts alike.
        self._sequence = sequence = frame.sequence if frame.waits else self._sequence + 1
        self.ring.add(KeptFrame(sequence, result.image, container))
        self.observer.notify(
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
            link_bytes_per_second=round(link_rate),
        )
        return LedgerFrame(header, container, encoded_at=self.clock(), waits=frame.waits)

    def _learn(self, result: EncodedFrame, seconds: float) -> None:
        encoded = result.encoded
        height, width = result.image.shape[:2]
        self.controller.on_encoded(
            encoded.level, encoded.quality, height * width, len(encoded.bitstream), seconds
        )
