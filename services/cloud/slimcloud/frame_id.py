"""The name of a frame everywhere in the cloud: `camera:epoch:sequence`.

For example `gate-1:00000197f3a1b2c3:42`. The epoch is written as 16 hexadecimal digits, so that a
name has one spelling only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slimcloud.errors import InvalidFrameIdError

CAMERA_ID_PATTERN = r"[A-Za-z0-9._-]{1,64}"
_FRAME_ID = re.compile(rf"({CAMERA_ID_PATTERN}):([0-9a-f]{{16}}):([1-9][0-9]{{0,19}})")
_UINT64_MAX = 2**64 - 1


@dataclass(frozen=True, order=True, slots=True)
class FrameId:
    """One frame of one start of one camera."""

    camera_id: str
    epoch: int  # 0 to 2**64 - 1, unique per start of the edge process
    sequence: int  # 1 to 2**64 - 1, counts within the epoch

    @classmethod
    def parse(cls, text: str) -> FrameId:
        """The frame that `text` names.

        Raises:
            InvalidFrameIdError: `text` is not `camera:epoch:sequence`.
        """
        match = _FRAME_ID.fullmatch(text)
        if match is None or int(match[3]) > _UINT64_MAX:
            raise InvalidFrameIdError(text)
        return cls(match[1], int(match[2], 16), int(match[3]))

    @property
    def epoch_hex(self) -> str:
        return f"{self.epoch:016x}"

    def __str__(self) -> str:
        return f"{self.camera_id}:{self.epoch:016x}:{self.sequence}"
