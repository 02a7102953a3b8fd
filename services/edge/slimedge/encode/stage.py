"""A frame that may go -> a frame on its way: encoded, kept for a refetch, numbered, described.

CapturedFrame, (level, quality) ─► worker ─► container ─► LedgerFrame(header, container)
                                      ▲         └► originals └► Encoded; the controller learns
     what became of earlier frames ───┘

A frame that goes now may refer to one of which PERSISTED was heard, and to no other: so any may be
lost without harm to the next. One that is kept refers to those that were kept before it. Where the
cloud turns out not to have one of those, the next is coded alone. What an earlier start of a
recording has sent is stored in that start's bytes: none refers to it.

An original that has left is gone: the cloud is told so and keeps the picture that it has.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import google_crc32c

from slimcodec.errors import CodecError
from slimcontrol.controller import Controller, Decision, NextKind, Verdict
from slimcontrol.point import OperatingPoint
from slimedge.encode.calibration import EncodeCalibration, warm_up
from slimedge.encode.worker import EncodedFrame, EncodeWorker
from slimedge.event import (
    Acked,
    EdgeEvent,
    EdgeObserver,
    Encoded,
    GapRecorded,
    Lost,
    Nacked,
    Skipped,
    SkipReason,
    SpoolChanged,
    Stage,
)
from slimedge.frame import CapturedFrame, FrameHeader, micros_of
from slimedge.gap import Gap, GapReason
from slimedge.memory.ledger import LedgerFrame
from slimedge.memory.originals import KeptFrame, Originals
from slimops.tracing import make_traceparent, record_span

logger = logging.getLogger(__name__)

_TELL_SECONDS = 30.0  # from one telling of how long originals are kept to the next
_TELL_AGAIN_SECONDS = 300.0  # what has not changed: the frame that told it may be lost


@dataclass(eq=False, kw_only=True)
class EncodeStage:
    """Encodes frames one after another."""

    worker: EncodeWorker
    calibration: EncodeCalibration  # knows what encoding takes, or learns it from the first picture
    controller: Controller
    originals: Originals
    max_depth: Callable[[], int]  # of references, that the cloud takes now
    earlier_sequence: Callable[[], int]  # up to which another start may have sent other bytes
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds
    share: Callable[[float], float | None]  # of the encoder, for one that so long a frame wants

    def __post_init__(self) -> None:
        self._sequence = 0
        self._told = (0, -math.inf)  # for how long originals are kept, and when that was told

    def notify(self, event: EdgeEvent) -> None:
        """Take note of what became of a frame, and so whether others may refer to it."""
        match event:
            case Acked(stage=Stage.PERSISTED, sequence=sequence):
                is_ours = sequence > self.earlier_sequence()
                self.worker.answered(sequence, is_stored=is_ours)
            case Nacked(epoch=0, reason="reference" | "decode"):
                self.worker.forget()
            case Nacked(epoch=0, retryable=False, sequence=sequence) | Lost(sequence=sequence):
                self.worker.answered(sequence, is_stored=False)
            case GapRecorded(gap=Gap(reason=GapReason.STORE_LOST)):
                self.worker.forget()
            case GapRecorded() | SpoolChanged():
                self.worker.forget_kept()

    async def warm_up(self, frame: CapturedFrame, points: Sequence[OperatingPoint]) -> None:
        """Encode a picture once at each point, to compile graphs and learn times."""
        levels = [(point.level, point.quality) for point in points]
        async with self.calibration.lock:  # what one camera measures, the next one need not
            warmed = await warm_up(self.worker.encode, self.calibration, frame.image, levels)
        for result, seconds in warmed:
            self._learn(result, seconds)

    def kind(self, seconds: float) -> NextKind:
        """How a picture that was taken then will be coded, monotonic seconds."""
        if not self.max_depth():
            return NextKind.ALONE
        if self.worker.is_key_due(seconds):
            return NextKind.KEY
        return NextKind.INTER if self.worker.will_refer else NextKind.ALONE

    async def encode(
        self, frame: CapturedFrame, decision: Decision, *, for_later: bool
    ) -> LedgerFrame | None:
        """The frame as it goes to the cloud, now or out of the spool; None where the encoder
        refuses its picture.
        """
        point = decision.point
        assert point is not None, "only a skip has no point"
        waited = self.clock() - frame.capture_time_mono
        link_rate = self.controller.rate.safe  # as the decision saw it
        # As its source counts it, where each start counts alike.
        sequence = frame.sequence if frame.waits else self._sequence + 1
        try:
            result = await self.worker.encode_next(
                frame.image,
                (point.level, point.quality),
                frame.capture_time_mono,
                sequence,
                self.max_depth(),
                for_later=for_later,
            )
        except CodecError as exc:
            logger.error("frame not encoded", extra={"reason": str(exc)})
            self.observer.notify(Skipped(frame.sequence, SkipReason.ENCODE_FAILED))
            return None
        self._learn(result, result.seconds)
        pixels = result.image.shape[0] * result.image.shape[1]
        self.controller.on_encoder_share(self.share(self.controller.widest_seconds(pixels)))
        self._sequence = sequence
        container, sent = result.encoded.bitstream, result.sent
        assert sent is not None, "the camera's next frame"
        reference = sent.reference
        kept = KeptFrame(sequence, result.image, container, result.encoded.symbols)
        self.originals.add(kept, frame.capture_time_mono)
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
                kind=sent.kind,
                activity=sent.activity,
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
            reference_sequence=0 if reference is None else reference.number,
            originals_seconds=self._seconds_to_tell(),
        )
        return LedgerFrame(header, container, encoded_at=self.clock(), waits=frame.waits)

    def _seconds_to_tell(self) -> int:
        """For how long originals are kept, where that has become another; 0: it was told."""
        now, seconds = self.clock(), round(self.originals.seconds)
        told, when = self._told
        pause = _TELL_AGAIN_SECONDS if abs(seconds - told) <= told / 10 else _TELL_SECONDS
        if seconds == 0 or now - when < pause:
            return 0
        self._told = (seconds, now)
        return seconds

    def _learn(self, result: EncodedFrame, seconds: float) -> None:
        encoded = result.encoded
        height, width = result.image.shape[:2]
        self.controller.on_encoded(
            encoded.level,
            encoded.quality,
            height * width,
            len(encoded.bitstream),
            seconds,
            is_inter=result.sent is not None and result.sent.reference is not None,
        )
