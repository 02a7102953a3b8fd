"""What the controller believes about the scene, the encoder and the cloud, all from samples.

Sizes spread over orders of magnitude, so they are averaged as logarithms.
"""

import math

_BYTES_WEIGHT = 0.1
_INTER_WEIGHT = 0.3  # what moves comes and goes: 13 and 18 % off on two videos, 0.1 is 16 and 20 %
_FIRST_INTER_SHARE = 0.2  # of an intra frame's bytes, until one was coded
_BYTES_SAFETY = 0.7
_ENCODE_WEIGHT = 0.2
_ENCODE_MARGIN = 1.15  # over the mean
_SERVICE_WEIGHT = 0.2


class ContentFactor:
    """How many times the expected bytes a picture of this scene takes, coded in one way.

    Args:
        is_inter: Against another picture.
    """

    def __init__(self, *, is_inter: bool = False) -> None:
        self._mean = math.log(_FIRST_INTER_SHARE) if is_inter else 0.0
        self._weight = _INTER_WEIGHT if is_inter else _BYTES_WEIGHT
        self._variance = 0.0
        self._is_known = False

    @property
    def safe(self) -> float:
        """The multiplier to plan with."""
        return math.exp(self._mean + _BYTES_SAFETY * math.sqrt(self._variance))

    def add(self, real_bytes: int, expected_bytes: float) -> None:
        distance = math.log(max(1, real_bytes) / expected_bytes) - self._mean
        if not self._is_known:  # the profile's scene is not this scene: begin here
            self._mean += distance
        else:
            self._mean += self._weight * distance
            self._variance = (1 - self._weight) * (self._variance + self._weight * distance**2)
        self._is_known = True


class EncodeTime:
    """Seconds per pixel to encode at each level, measured on this device as it goes.

    A level that has not run yet is judged by its first guess, given for every level, and by how the
    others fared.
    """

    def __init__(self, seconds_per_pixel: dict[int, float]) -> None:
        self._guess = dict(seconds_per_pixel)
        self._measured: dict[int, float] = {}

    def safe(self, level: int, pixels: int) -> float:
        """Seconds to plan with."""
        return _ENCODE_MARGIN * self._per_pixel(level) * pixels

    def add(self, level: int, pixels: int, seconds: float) -> None:
        sample = seconds / pixels
        mean = self._measured.get(level, sample)
        self._measured[level] = mean + _ENCODE_WEIGHT * (sample - mean)

    def _per_pixel(self, level: int) -> float:
        if level in self._measured:
            return self._measured[level]
        ratios = [value / self._guess[known] for known, value in self._measured.items()]
        return self._guess[level] * (sum(ratios) / len(ratios) if ratios else 1.0)


class CloudService:
    """Seconds between two results of a busy cloud: what a frame in its queue costs."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._last_detected = -math.inf  # server's clock, seconds

    @property
    def is_known(self) -> bool:
        """Whether there was a result."""
        return self._mean is not None

    @property
    def seconds(self) -> float:
        """0 until something is known."""
        return self._mean or 0.0

    def add(self, received: float, detected: float) -> None:
        """Learn from one result; both times on the server's monotonic clock, seconds."""
        sample = max(0.0, detected - max(received, self._last_detected))
        self._last_detected = max(self._last_detected, detected)
        if self._mean is None:
            self._mean = sample
        else:
            self._mean += _SERVICE_WEIGHT * (sample - self._mean)

    def reconnect(self) -> None:
        """Forget the server's clock: another server may answer."""
        self._last_detected = -math.inf
