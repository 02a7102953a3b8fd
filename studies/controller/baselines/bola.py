"""The buffer alone decides, by a Lyapunov bound: the time that is left until frames come late.

    slack Q = deadline - age - backlog / rate - round trip - the cloud's queue, seconds
    point   = argmax (V (v + gp) - Q) / bytes          v = utility over that of the smallest point

A player's buffer is the time until it must stop; a camera's is the time until a frame comes late.
V and gp are set as players do: the smallest point at a slack of `low`, all bits at `high`. With one
rule of the same authors against an empty buffer: bytes <= share * rate * Q. Where not even the
smallest point would be in time, the frame waits.

Source: Spiteri, Urgaonkar and Sitaraman, BOLA: Near-Optimal Bitrate Adaptation for Online Videos
(INFOCOM 2016), equation 8; Spiteri, Sitaraman and Sparacio, From Theory to Practice (MMSys 2018),
for how V and gp are set and for the insufficient buffer rule.
"""

from __future__ import annotations

import math

from slimcontrol.controller import Offer
from slimcontrol.point import OperatingPoint
from studies.controller.baselines.baseline import Baseline, Terms

_SAMPLES = 5  # of throughput


class Bola(Baseline):
    """Chooses by the time left before the deadline.

    Args:
        terms: Of the camera.
        low, high: Slack at which the smallest point goes, and from which the largest may, as parts
            of the deadline, 0 < low < high.
        share: Of the slack that one frame may take on the link.
        log_utility: Worth is the logarithm of the bytes, as in the paper; else it is the measured.
        window_frames: See `Baseline`.
    """

    def __init__(
        self,
        terms: Terms,
        low: float = 0.3,
        high: float = 0.9,
        share: float = 0.5,
        log_utility: bool = False,
        window_frames: int | None = None,
    ) -> None:
        super().__init__(terms, window_frames)
        self._share = share
        least, most = low * terms.deadline_seconds, high * terms.deadline_seconds
        smallest = self.front[0]
        self._worth = {
            point: math.log(point.bpp / smallest.bpp)
            if log_utility
            else point.utility - smallest.utility
            for point in self.front
        }
        self._gp = max(1e-9, self._worth[self.front[-1]] / (most / least - 1))
        self._v = least / self._gp

    def choose(self, offer: Offer) -> OperatingPoint | None:
        """The point of the largest score among those that arrive within the slack."""
        rate = self.throughput.harmonic_mean(_SAMPLES)
        slack = self._slack(offer, rate)
        smallest = self.expected_bytes(self.front[0], offer.pixels)
        if smallest / rate > slack and not offer.link.idle:
            return None  # whatever went would come late
        frame_limit = offer.budget.bytes_per_second * self.terms.frame_seconds
        limit = min(self._share * rate * max(slack, 0.0), frame_limit)
        best, best_score = self.front[0], -math.inf
        for point, size_bytes in self.candidates(offer):
            if point is not self.front[0] and size_bytes > limit:
                continue
            score = (self._v * (self._worth[point] + self._gp) - slack) / size_bytes
            if score > best_score:
                best, best_score = point, score
        return best

    def _slack(self, offer: Offer, rate: float) -> float:
        link = offer.link
        queued = max(link.in_flight_bytes / rate, link.undetected_frames * self.service_seconds)
        taken = offer.age_seconds + queued + self.throughput.round_trip + self.service_seconds
        return self.terms.deadline_seconds - taken
