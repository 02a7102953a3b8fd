"""A camera with one setting, as most cameras have: one level, one quality, every newest frame.

It encodes the newest frame as soon as the encoder is free, fewer frames than its window are without
a result, and the credit has room; whatever the link is like. A frame that a newer one has replaced
is not sent.
"""

from __future__ import annotations

from slimcontrol.controller import Offer
from slimcontrol.point import OperatingPoint
from studies.controller.baselines.baseline import Baseline, Terms


class FixedPoint(Baseline):
    """Always the same point.

    Args:
        terms: Of the camera.
        point: To encode at.
        window_frames: See `Baseline`.
    """

    def __init__(
        self, terms: Terms, point: OperatingPoint, window_frames: int | None = None
    ) -> None:
        super().__init__(terms, window_frames)
        self._point = point

    def choose(self, offer: Offer) -> OperatingPoint:
        """The point."""
        return self._point
