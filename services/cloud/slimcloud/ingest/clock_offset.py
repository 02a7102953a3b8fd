"""How far a camera's wall clock is ahead of the cloud's.

    capture time - time of arrival + what the frame took on its way = offset

A slow line or a slow store holds a frame for minutes. What it took is told by clocks that only go
forward: the Hello had the camera's, and took some seconds itself at most. Of a camera that does not
say it, frames are taken to come at once.

The median over the newest live frames counts, so one odd time moves nothing. Ahead is certain, for
nothing comes before it was sent; behind by up to half a minute may be the way. A clock that is
further off is out of step: people are told, and its frames' times are taken to be off by as much.
"""

import logging
from collections import deque
from collections.abc import Callable
from statistics import median_low

logger = logging.getLogger(__name__)

_FRAMES = 15
_AHEAD_US = 1_000_000
_BEHIND_US = 30_000_000
_LIVE_US = 600_000_000  # the longest deadline: no live frame is older
_LATE_US = 20 * 366 * 86_400_000_000  # a recording may be old; what is older is an unset clock


class ClockOffset:
    """Of one stream."""

    def __init__(self, camera_id: str, clock_mono_us: Callable[[], int]) -> None:
        self._camera_id = camera_id
        self._clock_mono_us = clock_mono_us
        self._ahead_mono_us: int | None = None  # of the camera's monotonic clock, by its Hello
        self._newest: deque[int] = deque(maxlen=_FRAMES)
        self.offset_us = 0  # microseconds; below 0: behind; 0: in step

    def begin(self, hello_mono_us: int) -> None:
        """Take the camera's monotonic clock as its Hello, which has just come, says it; 0: not."""
        if hello_mono_us:
            self._ahead_mono_us = hello_mono_us - self._clock_mono_us()

    def take(self, capture_us: int, arrival_us: int, capture_mono_us: int | None = None) -> int:
        """What a frame's capture time is ahead of the cloud's clock, microseconds; 0 = in step.

        Args:
            capture_us: by the camera's wall clock, microseconds since 1970.
            arrival_us: by the cloud's, now.
            capture_mono_us: by the camera's monotonic clock. None: the frame was kept or recorded
                before it was sent, and tells nothing of the clock.
        """
        ahead_us = capture_us - arrival_us
        if capture_mono_us is not None:
            self._newest.append(ahead_us + self._took_us(capture_mono_us))
            self._follow(median_low(self._newest))
        longest_us = _LATE_US if capture_mono_us is None else _LIVE_US
        is_plausible = -longest_us <= ahead_us - self.offset_us <= _AHEAD_US
        return self.offset_us if is_plausible else ahead_us

    def _took_us(self, capture_mono_us: int) -> int:
        if self._ahead_mono_us is None:
            return 0
        return self._clock_mono_us() + self._ahead_mono_us - capture_mono_us

    def _follow(self, median_us: int) -> None:
        was_in_step, is_in_step = not self.offset_us, -_BEHIND_US <= median_us <= _AHEAD_US
        self.offset_us = 0 if is_in_step else median_us
        if was_in_step and not is_in_step:
            logger.warning(
                "the camera's clock is off by %+.0f s; set it, by NTP say",
                median_us / 1e6,
                extra={"camera_id": self._camera_id},
            )
