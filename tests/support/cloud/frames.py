"""Frames and results for the store, made up but well formed."""

from __future__ import annotations

from typing import NamedTuple

from slimcloud.frame_id import FrameId
from slimcloud.store.records import DetectionResult, FrameState, Lane, StoredFrame
from slimcodec.detection import Detection

EPOCH = 0xA1B2
START_UNIX_US = 1_780_000_000_000_000


class MadeFrame(NamedTuple):
    """What `Store.put_frame` takes."""

    record: StoredFrame
    container: bytes

    @property
    def frame_id(self) -> FrameId:
        return self.record.frame_id


def make_frame(
    sequence: int,
    *,
    camera_id: str = "gate",
    epoch: int = EPOCH,
    container: bytes = b"container",
    image_hw: tuple[int, int] = (48, 64),
    capture_us: int | None = None,
    received_us: int | None = None,
    expires_us: int = 0,
    lane: str = "live",
    reference: int = 0,
) -> MadeFrame:
    """A frame that was captured `sequence` milliseconds after the start."""
    captured = START_UNIX_US + 1000 * sequence if capture_us is None else capture_us
    record = StoredFrame(
        frame_id=FrameId(camera_id, epoch, sequence),
        level=1,
        quality=2,
        image_height=image_hw[0],
        image_width=image_hw[1],
        capture_time_unix_us=captured,
        received_time_unix_us=captured + 500 if received_us is None else received_us,
        expires_unix_us=expires_us,
        lane=Lane.BACKFILL if lane == "backfill" else Lane.LIVE,
        base_bytes=len(container),
        state=FrameState.QUEUED,
        reference_sequence=reference,
    )
    return MadeFrame(record, container)


def make_result(*found: tuple[str, float]) -> DetectionResult:
    """A result with one detection for each (label, score)."""
    return DetectionResult(
        detections=tuple(
            Detection((1.0, 2.0, 3.5, 4.0), score, class_id, label)
            for class_id, (label, score) in enumerate(found)
        ),
        detector="toy-detector/1",
        codec="toy/1",
        min_score=0.25,
        queue_seconds=0.125,
        compute_seconds=0.25,
        batch_size=1,
        detected_time_unix_us=START_UNIX_US,
    )
