"""The last frames as they were encoded, for a refetch of one of them.

Bounded twice, by frames and by bytes; the oldest leave first. What has left is gone: the cloud is
told so and keeps the picture that it has.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """What an enhancement is made from: the picture, and the base that was sent."""

    sequence: int
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    base: bytes
    level: int
    quality: float

    @property
    def size_bytes(self) -> int:
        """Memory of the picture and the base, bytes."""
        return self.image.nbytes + len(self.base)


class FrameRing:
    """Recent frames by wire sequence; not thread-safe."""

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        if max_frames < 1 or max_bytes < 1:
            raise ValueError(
                f"a ring of {max_frames} frames and {max_bytes} bytes; both must be at least 1"
            )
        self._frames: OrderedDict[int, KeptFrame] = OrderedDict()
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def add(self, frame: KeptFrame) -> None:
        """Keep `frame`; older ones leave to make room. One that is too large alone is not kept."""
        previous = self._frames.pop(frame.sequence, None)
        if previous is not None:
            self.size_bytes -= previous.size_bytes
        self._frames[frame.sequence] = frame
        self.size_bytes += frame.size_bytes
        while len(self._frames) > self._max_frames or self.size_bytes > self._max_bytes:
            _, oldest = self._frames.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def get(self, sequence: int) -> KeptFrame | None:
        """The frame with this sequence, or None if it has left or never was."""
        return self._frames.get(sequence)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def oldest(self) -> int | None:
        """Sequence of the oldest kept frame."""
        return next(iter(self._frames), None)
