"""Everything around a policy: camera, encoder, link, cloud, and what a sent frame is worth.

Each frame has its own bytes, encode time and detection time, the same for every policy that is
tried in this world: so two policies differ by what they chose, not by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slimcontrol.budget import Budget
from slimcontrol.point import OperatingPoint
from slimlinks.trace import Trace
from studies.controller.errors import WorldError
from studies.controller.simulation.content import Content

DEFAULT_CREDIT_BYTES = 64 * 2**10  # as the cloud sets it
DEFAULT_MAX_FRAME_BYTES = 2**20
DEFAULT_OVERHEAD_BYTES = 160  # message, HTTP/2, TLS and TCP/IP around a container; chosen


def utility_of(point: OperatingPoint) -> float:
    """What the profile says a picture at this point is worth."""
    return point.utility


@dataclass(frozen=True)
class World:
    """What a policy is put into.

    Raises:
        WorldError: the numbers describe no world.
        ContentError: a point was not recorded.
    """

    trace: Trace
    content: Content
    points: tuple[OperatingPoint, ...]  # that may be sent
    encode_seconds: Mapping[int, float]  # of a picture of this size, by level
    seconds: float = 120.0  # that the camera runs
    trace_offset_seconds: float = 0.0  # where in the trace it begins
    fps: float = 10.0  # of the camera
    max_fps: float | None = None  # that the edge may send; None: as the camera
    image_hw: tuple[int, int] = (576, 768)  # pixels
    deadline_seconds: float = 1.0  # capture to detection
    expire_seconds: float = 10.0  # older frames are thrown away, here and in the cloud
    round_trip_seconds: float = 0.05  # half of it each way, besides the bytes
    # Hello to Welcome, as the policy is told: a busy edge measures too much. None: the round trip.
    greeting_seconds: float | None = None
    cloud_seconds: float = 0.09  # to decode and detect one frame; one at a time
    # From RECEIVED to the result besides: waiting for a batch, storing, telling. Keeps nobody busy.
    cloud_delay_seconds: float = 0.0
    encode_spread: float = 0.0  # standard deviation of the logarithm of encode seconds
    cloud_spread: float = 0.0  # the same of cloud seconds
    seed: int = 0  # of the spreads
    utility: Callable[[OperatingPoint], float] = utility_of
    budget: Budget | None = None
    cpu_share: float | None = None  # that a policy may encode in; for whoever builds the policy
    credit_bytes: int = DEFAULT_CREDIT_BYTES
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    overhead_bytes: int = DEFAULT_OVERHEAD_BYTES  # on the link, besides a container
    warm_up: bool = True  # the first picture was encoded at each level before it all began
    _columns: dict[tuple[int, float], int] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        positive = {
            "seconds": self.seconds,
            "fps": self.fps,
            "deadline_seconds": self.deadline_seconds,
            "expire_seconds": self.expire_seconds,
            "pixels": self.pixels,
            "credit_bytes": self.credit_bytes,
            **{f"encode_seconds of level {n}": t for n, t in self.encode_seconds.items()},
        }
        others = {
            "trace_offset_seconds": self.trace_offset_seconds,
            "round_trip_seconds": self.round_trip_seconds,
            "cloud_seconds": self.cloud_seconds,
            "cloud_delay_seconds": self.cloud_delay_seconds,
            "encode_spread": self.encode_spread,
            "cloud_spread": self.cloud_spread,
            "overhead_bytes": self.overhead_bytes,
        }
        if self.max_fps is not None:
            positive["max_fps"] = self.max_fps
        if self.greeting_seconds is not None:
            others["greeting_seconds"] = self.greeting_seconds
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise WorldError(f"{name} is {value}; it must be above 0")
        for name, value in others.items():
            if not 0 <= value < math.inf:
                raise WorldError(f"{name} is {value}; it must be 0 or more")
        if not self.points:
            raise WorldError("there are no points to send; give the codec's")
        for point in self.points:
            column = self.content.column(point.level, point.quality)
            self._columns[point.level, point.quality] = column
            if point.level not in self.encode_seconds:
                raise WorldError(f"level {point.level} has no encode_seconds; measure it")

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.image_hw[0] * self.image_hw[1]

    @property
    def frame_count(self) -> int:
        """Pictures that the camera takes."""
        return max(1, math.ceil(self.seconds * self.fps - 1e-9))

    @property
    def frame_seconds(self) -> float:
        """Shortest time between two sent frames."""
        return 1 / (self.max_fps or self.fps)

    def captured_at(self, frame: int) -> float:
        """Seconds; the first picture is taken at 0."""
        return frame / self.fps

    def size_bytes(self, frame: int, level: int, quality: float, gap: int = 0) -> int:
        """Of the frame's container; see `Content.size_bytes`.

        Raises:
            ContentError: the point was not recorded.
        """
        return self._sized.size_bytes(frame, level, quality, gap)

    def fewest_bytes(self, frame: int, point: OperatingPoint) -> int:
        """Of the frame's container in the best of ways: against any reference, or alone."""
        column = self._columns[point.level, point.quality]
        return self._fewest[frame % len(self._fewest)][column]

    def encode_time(self, frame: int, level: int) -> float:
        """Seconds that the encoder takes for a frame."""
        return self.encode_seconds[level] * self._encode_factors[frame]

    def service_time(self, frame: int) -> float:
        """Seconds that the cloud works on a frame."""
        return self.cloud_seconds * self._service_factors[frame]

    def receive_delay(self, frame: int) -> float:
        """Seconds from a frame's coming out of the link until the cloud has it; for a subclass that
        replays how late a real machine was.
        """
        return 0.0

    def sent_at_latest(self, frame: int) -> float:
        """When a newer picture has taken the place of this one, seconds."""
        return self.captured_at(frame + 1) if frame + 1 < self.frame_count else math.inf

    @cached_property
    def _sized(self) -> Content:
        return self.content.scaled(self.image_hw)

    @cached_property
    def _fewest(self) -> list[list[int]]:
        sized = self._sized
        sizes = np.minimum(sized.sizes, sized.inter_sizes.min(0)) if sized.gaps else sized.sizes
        fewest: list[list[int]] = sizes.tolist()
        return fewest

    @cached_property
    def _encode_factors(self) -> list[float]:
        return _factors(self.encode_spread, self.frame_count, np.random.default_rng([self.seed, 0]))

    @cached_property
    def _service_factors(self) -> list[float]:
        return _factors(self.cloud_spread, self.frame_count, np.random.default_rng([self.seed, 1]))


def _factors(spread: float, count: int, random: np.random.Generator) -> list[float]:
    """Log-normal around a mean of 1."""
    if spread == 0:
        return [1.0] * count
    drawn: NDArray[np.float64] = random.lognormal(-(spread**2) / 2, spread, count)
    return [float(factor) for factor in drawn]
