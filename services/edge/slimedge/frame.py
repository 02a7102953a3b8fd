"""A frame: as the camera gives it, and what travels with its container to the cloud.

The fields of `FrameHeader` are those of the wire's `Frame`, by name and unit; memory, disk and wire
pass it whole. So one more field of a frame stands in the `.proto`, here, and in the cloud's record
of a frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """What a camera gives.

    The two times are of one moment: the wall clock for people, the monotonic clock for latencies.
    """

    sequence: int  # 1, 2, 3 ... as captured; frames that are never sent count too
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    capture_time_unix: float  # seconds
    capture_time_mono: float  # seconds
    waits: bool = False  # none is newer: it grows no older while it waits to be sent

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What is said of one frame; a field that an older edge did not keep has its default."""

    sequence: int  # 1, 2, 3 ... within an epoch
    capture_time_unix_us: int  # wall clock
    capture_time_mono_us: int  # monotonic clock; 0 = not known, an earlier start captured it
    container_crc32c: int
    traceparent: str = ""  # W3C Trace Context; empty = not traced
    link_bytes_per_second: int = 0  # what the controller planned with; 0 = not said
    reference_sequence: int = 0  # the frame of the same epoch that the container needs; 0 = none
    originals_seconds: int = 0  # for how long originals are kept for a refetch; 0 = not said

    @property
    def capture_time_unix(self) -> float:
        """The wall clock at capture, seconds."""
        return self.capture_time_unix_us / 1e6

    @property
    def capture_time_mono(self) -> float:
        """The monotonic clock at capture, seconds."""
        return self.capture_time_mono_us / 1e6


def micros_of(seconds: float) -> int:
    """Seconds as microseconds of the wire, which have no sign."""
    return max(0, round(1e6 * seconds))
