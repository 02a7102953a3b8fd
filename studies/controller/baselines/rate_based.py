"""The point that fits the link: what most adaptive players did first.

    rate  = safety * (harmonic mean or EWMA of the acknowledged frames' throughput)
    point = the most useful one with bytes <= rate * time between frames; else the smallest

Source: Jiang, Sekar and Zhang, FESTIVE (CoNEXT 2012), for the harmonic mean; the EWMA is that of
Akhshabi, Begen and Dovrolis, An Experimental Evaluation of Rate-Adaptation Algorithms in Adaptive
Streaming over HTTP (MMSys 2011).
"""

from __future__ import annotations

from slimcontrol.controller import Offer
from slimcontrol.link import SentFrame
from slimcontrol.point import OperatingPoint
from studies.controller.baselines.baseline import Baseline, Terms

_SAMPLES = 5  # in the harmonic mean


class RateBased(Baseline):
    """Chooses by the link's estimated rate alone.

    Args:
        terms: Of the camera.
        safety: Part of the estimate that is planned with, above 0.
        weight: Of a new sample in the EWMA, above 0, at most 1; None: harmonic mean of the last 5.
        window_frames: See `Baseline`.
    """

    def __init__(
        self,
        terms: Terms,
        safety: float = 0.9,
        weight: float | None = None,
        window_frames: int | None = None,
    ) -> None:
        super().__init__(terms, window_frames)
        self._safety = safety
        self._weight = weight
        self._ewma: float | None = None

    def choose(self, offer: Offer) -> OperatingPoint:
        """The largest point that fits."""
        rate = min(self._safety * self._estimate(), offer.budget.bytes_per_second)
        return self.largest_within(rate * self.terms.frame_seconds, offer)

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn how fast the link is."""
        super().on_received(now, frame, server_time, received_bytes_total)
        if self._weight is not None and self.throughput.samples:
            sample = self.throughput.samples[-1]
            mean = sample if self._ewma is None else self._ewma
            self._ewma = mean + self._weight * (sample - mean)

    def _estimate(self) -> float:
        if self._weight is None or self._ewma is None:
            return self.throughput.harmonic_mean(_SAMPLES)
        return self._ewma
