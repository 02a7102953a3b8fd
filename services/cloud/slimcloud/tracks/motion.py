"""Where an object is expected: a Kalman filter of constant velocity whose step is the time between
two frames, for they come irregularly, from 1 to 10 a second.

Lengths are in sides of the object, the root of its area: a near one moves more pixels than a far
one. Both coordinates then have one covariance, three numbers.
Source: Kalman, A New Approach to Linear Filtering and Prediction Problems, 1960; the noise of white
acceleration as in Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and
Navigation, 2001, section 6.2.2.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

Pair = tuple[float, float]
Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max, pixels

# Standard deviations, chosen on vtest at 1 to 10 frames a second (`studies.tracks`).
_PLACE = 0.1  # of a detected centre, sides
_FIRST_SPEED = 1.0  # of an object seen once, sides a second: a person who walks has 0.9
_ACCELERATION = 0.7  # sides a second, in a second
_SIZE_GAIN = 0.4  # of a new size in the smoothed one


@dataclass(frozen=True, slots=True)
class Motion:
    """Of one object at one time; pixels and pixels a second."""

    centre: Pair
    size: Pair  # width, height
    velocity: Pair
    # variances of centre and velocity and between them the covariance, in sides and seconds
    place_variance: float
    covariance: float
    speed_variance: float

    @classmethod
    def begin(cls, box_xyxy: Box) -> Self:
        """What a first detection tells."""
        centre, size = centre_and_size(box_xyxy)
        return cls(centre, size, (0.0, 0.0), _PLACE**2, 0.0, _FIRST_SPEED**2)

    @property
    def side(self) -> float:
        """Pixels."""
        return math.sqrt(self.size[0] * self.size[1])

    @property
    def box_xyxy(self) -> Box:
        (x, y), (w, h) = self.centre, self.size
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    @property
    def expected_variance(self) -> float:
        """Of the centre of its next detection, square sides."""
        return self.place_variance + _PLACE**2

    def at(self, seconds: float) -> Self:
        """So much later, without having been seen."""
        q = _ACCELERATION**2
        (x, y), (vx, vy) = self.centre, self.velocity
        return replace(
            self,
            centre=(x + vx * seconds, y + vy * seconds),
            place_variance=self.place_variance
            + 2 * seconds * self.covariance
            + seconds**2 * self.speed_variance
            + q * seconds**3 / 3,
            covariance=self.covariance + seconds * self.speed_variance + q * seconds**2 / 2,
            speed_variance=self.speed_variance + q * seconds,
        )

    def halted(self) -> Self:
        """Without its velocity."""
        return replace(self, velocity=(0.0, 0.0))

    def seen(self, box_xyxy: Box) -> Self:
        """Corrected by a detection at the same time."""
        centre, size = centre_and_size(box_xyxy)
        place_gain = self.place_variance / self.expected_variance
        speed_gain = self.covariance / self.expected_variance
        return replace(
            self,
            centre=_nearer(self.centre, centre, place_gain),
            size=_nearer(self.size, size, _SIZE_GAIN),
            velocity=(
                self.velocity[0] + speed_gain * (centre[0] - self.centre[0]),
                self.velocity[1] + speed_gain * (centre[1] - self.centre[1]),
            ),
            place_variance=(1 - place_gain) * self.place_variance,
            covariance=(1 - place_gain) * self.covariance,
            speed_variance=self.speed_variance - speed_gain * self.covariance,
        )


def centre_and_size(box_xyxy: Box) -> tuple[Pair, Pair]:
    """Both in pixels; a size is at least one pixel."""
    x_min, y_min, x_max, y_max = box_xyxy
    size = max(1.0, x_max - x_min), max(1.0, y_max - y_min)
    return ((x_min + x_max) / 2, (y_min + y_max) / 2), size


def _nearer(old: Pair, new: Pair, gain: float) -> Pair:
    return old[0] + gain * (new[0] - old[0]), old[1] + gain * (new[1] - old[1])
