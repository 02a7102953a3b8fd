"""One frame on its way from the camera to its detections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from slimedge.event import Encoded


@dataclass(slots=True)
class FrameRow:
    """One encoded frame, filled in as its events arrive. Durations in seconds."""

    sequence: int
    level: int
    quality: float
    image_hw: tuple[int, int]
    bitstream_bytes: int
    wait_seconds: float  # capture until the encoder took it
    encode_seconds: float
    is_sent: bool = False
    is_persisted: bool = False
    is_given_up: bool = False  # lost, or refused for good
    latency_seconds: float | None = None  # capture to detection
    cloud_queue_seconds: float | None = None
    cloud_compute_seconds: float | None = None
    labels: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, event: Encoded) -> Self:
        h, w = event.image.shape[:2]
        return cls(
            sequence=event.sequence,
            level=event.level,
            quality=event.quality,
            image_hw=(h, w),
            bitstream_bytes=event.bitstream_bytes,
            wait_seconds=event.wait_seconds,
            encode_seconds=event.encode_seconds,
        )

    @property
    def pixels(self) -> int:
        return self.image_hw[0] * self.image_hw[1]

    @property
    def is_settled(self) -> bool:
        """Whether no more events are awaited."""
        if self.is_given_up:
            return True
        return self.is_persisted and self.latency_seconds is not None

    @property
    def cloud_seconds(self) -> float | None:
        """Waiting for the detector, and detecting."""
        if self.cloud_queue_seconds is None or self.cloud_compute_seconds is None:
            return None
        return self.cloud_queue_seconds + self.cloud_compute_seconds

    @property
    def way_seconds(self) -> float | None:
        """What is left of the latency: waiting for the link, both ways over it, and storing."""
        if self.latency_seconds is None or self.cloud_seconds is None:
            return None
        known = self.wait_seconds + self.encode_seconds + self.cloud_seconds
        return max(0.0, self.latency_seconds - known)

    @property
    def machine_seconds(self) -> float | None:
        """From the encoder to the boxes, without the link: work, and waiting for its turn."""
        return None if self.cloud_seconds is None else self.encode_seconds + self.cloud_seconds

    @property
    def work_seconds(self) -> float | None:
        """Of that the work alone."""
        if self.cloud_compute_seconds is None:
            return None
        return self.encode_seconds + self.cloud_compute_seconds
