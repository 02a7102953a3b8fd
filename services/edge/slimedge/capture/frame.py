"""A captured picture with its identity and its times."""

from __future__ import annotations

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

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.image.shape[:2]
        return height, width
