"""How far a camera's wall clock is ahead of the cloud's.

    capture time - time of arrival = offset - what the frame took on its way

The median over the newest live frames counts, so one odd time moves nothing. Ahead is certain, for
no frame comes before it was captured; behind may be a slow link, up to half a minute. A clock that
is further off is out of step: people are told, and its frames' times are taken to be off by as
much.
"""

import logging
from collections import deque
from statistics import median_low

logger = logging.getLogger(__name__)

_FRAMES = 15
_AHEAD_US = 1_000_000
_BEHIND_US = 30_000_000
_LIVE_US = 600_000_000  # the longest deadline: no live frame is older
_LATE_US = 20 * 366 * 86_400_000_000  # a recording may be old; what is older is an unset clock


class ClockOffset:
    """Of one stream."""

    def __init__(self, camera_id: str) -> None:
        self._camera_id = camera_id
        self._newest: deque[int] = deque(maxlen=_FRAMES)
        self.offset_us = 0  # microseconds; below 0: behind; 0: in step

    def take(self, capture_us: int, arrival_us: int, *, is_late: bool) -> int:
        """What a frame's capture time is ahead of the cloud's clock, microseconds; 0 = in step.

        Args:
            capture_us: by the camera's wall clock, microseconds since 1970.
            arrival_us: by the cloud's.
            is_late: it was kept or recorded before it was sent, so its way says nothing.
        """
        ahead_us = capture_us - arrival_us
        if not is_late:
            self._newest.append(ahead_us)
            self._follow(median_low(self._newest))
        longest_us = _LATE_US if is_late else _LIVE_US
        is_plausible = -longest_us <= ahead_us - self.offset_us <= _AHEAD_US
        return self.offset_us if is_plausible else ahead_us

    def _follow(self, median_us: int) -> None:
        was_in_step, is_in_step = not self.offset_us, -_BEHIND_US <= median_us <= _AHEAD_US
        self.offset_us = 0 if is_in_step else median_us
        if was_in_step and not is_in_step:
            logger.warning(
                "the camera's clock is off by %+.0f s; set it, by NTP say",
                median_us / 1e6,
                extra={"camera_id": self._camera_id},
            )
