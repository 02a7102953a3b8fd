"""What all baselines share: the rules of the wire, and what they learn from the same observations.

    cloud full, budget spent, window full ─► wait
    the link's oldest frame is late already ─► wait: what is sent behind it would be late too
    else choose(offer) ─► point ─► room in the credit? ─► send

The papers' clients have a player's buffer; a camera has none, so all of them get two rules that the
papers do not have: a window of frames without a result (its size, or none, is tuned for each), and
the rule about the late frame above. Without the window a link slower than the camera has a queue
that never empties: rate-based then loses nearly every frame where deadlines are short.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimcontrol.controller import Decision, NextKind, Offer, Verdict, WaitReason
from slimcontrol.link import SentFrame, has_room
from slimcontrol.point import OperatingPoint, inter_points
from studies.controller.baselines.throughput import Throughput

_WEIGHT = 0.1  # of a new sample in what is learned of bytes, encoding and the cloud


@dataclass(frozen=True)
class Terms:
    """What a policy is told when it starts: the same as the controller is told."""

    points: tuple[OperatingPoint, ...]
    encode_seconds_per_pixel: Mapping[int, float]  # first guess for each level
    deadline_seconds: float  # capture to detection
    frame_seconds: float  # between two pictures of the camera


class Baseline(ABC):
    """A policy, but for its choice.

    Args:
        terms: Of the camera.
        window_frames: That may be sent and without a result; None: as many as the credit allows.
    """

    def __init__(self, terms: Terms, window_frames: int | None) -> None:
        self.terms = terms
        self.front = efficient_points(terms.points)
        self.throughput = Throughput()
        self._window_frames = math.inf if window_frames is None else window_frames
        self._bpp = {  # by whether a frame is inter, as the controller is told
            is_inter: {(point.level, point.quality): point.bpp for point in points}
            for is_inter, points in ((False, terms.points), (True, inter_points(terms.points)))
        }
        self._log_factors: dict[bool, float] = {}
        self._is_inter = False  # what is offered
        self._encode_per_pixel = dict(terms.encode_seconds_per_pixel)
        self._service: float | None = None
        self._last_detected = -math.inf  # clock of the server, seconds

    @abstractmethod
    def choose(self, offer: Offer) -> OperatingPoint | None:
        """Choose for a frame that the rules let go; None: not now."""

    def decide(self, offer: Offer) -> Decision:
        """Choose for the newest frame, or let it wait; see `Controller.decide`."""
        self._is_inter = offer.kind is NextKind.INTER
        reason = self._closed(offer)
        point = self.choose(offer) if reason is None else None
        if point is None:
            return Decision(Verdict.SKIP, None, 0, 0.0, reason or WaitReason.INFEASIBLE)
        size_bytes = self.expected_bytes(point, offer.pixels)
        link = offer.link
        if size_bytes > link.max_frame_bytes or not has_room(
            size_bytes, link.in_flight_bytes, link.credit_bytes
        ):
            return Decision(Verdict.SKIP, None, round(size_bytes), 0.0, WaitReason.CREDIT)
        seconds = offer.age_seconds + self.encode_seconds(point, offer.pixels)
        return Decision(Verdict.BEST, point, round(size_bytes), seconds)

    def on_encoded(
        self,
        level: int,
        quality: float,
        pixels: int,
        size_bytes: int,
        seconds: float,
        is_inter: bool = False,
    ) -> None:
        """Learn how many bytes this scene takes, and how long encoding does."""
        log_ratio = math.log(size_bytes / (self._bpp[is_inter][level, quality] * pixels / 8))
        known = self._log_factors.get(is_inter, log_ratio)
        self._log_factors[is_inter] = known + _WEIGHT * (log_ratio - known)
        per_pixel = self._encode_per_pixel[level]
        self._encode_per_pixel[level] = per_pixel + _WEIGHT * (seconds / pixels - per_pixel)

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn how fast the link is."""
        self.throughput.add(now, frame, server_time)

    def on_detected(self, received: float, detected: float) -> None:
        """Learn how long the cloud takes for a frame."""
        sample = max(0.0, detected - max(received, self._last_detected))
        self._last_detected = max(self._last_detected, detected)
        if self._service is None:
            self._service = sample
        self._service += _WEIGHT * (sample - self._service)

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """Learn the round trip of a new stream."""
        self.throughput.connect(round_trip_seconds)
        self._last_detected = -math.inf

    @property
    def service_seconds(self) -> float:
        """What a frame costs the cloud; 0 until a result was seen."""
        return self._service or 0.0

    def expected_bytes(self, point: OperatingPoint, pixels: int) -> float:
        """Bytes of a picture of this scene at a point, coded as the one that is offered."""
        bpp = self._bpp[self._is_inter][point.level, point.quality]
        return bpp * pixels / 8 * math.exp(self._log_factors.get(self._is_inter, 0.0))

    def encode_seconds(self, point: OperatingPoint, pixels: int) -> float:
        """Seconds that encoding at a point takes."""
        return self._encode_per_pixel[point.level] * pixels

    def candidates(self, offer: Offer) -> list[tuple[OperatingPoint, float]]:
        """What an adaptive policy chooses from, with its bytes: the efficient points whose encoding
        keeps up, that fit what is left of the credit, and of which the credit holds two.

        The smallest is always among them.
        """
        link = offer.link
        left = link.credit_bytes - link.in_flight_bytes
        limit = min(left, link.credit_bytes / 2, link.max_frame_bytes)
        chosen = []
        for point in self.front:
            size_bytes = self.expected_bytes(point, offer.pixels)
            keeps_up = self.encode_seconds(point, offer.pixels) <= self.terms.frame_seconds
            if point is self.front[0] or (keeps_up and size_bytes <= limit):
                chosen.append((point, size_bytes))
        return chosen

    def largest_within(self, limit_bytes: float, offer: Offer) -> OperatingPoint:
        """The most useful candidate of at most so many bytes; else the smallest."""
        fitting = [point for point, size in self.candidates(offer) if size <= limit_bytes]
        return fitting[-1] if fitting else self.front[0]

    def _closed(self, offer: Offer) -> WaitReason | None:
        link = offer.link
        if link.paused:
            return WaitReason.CLOUD_FULL
        if not offer.budget.is_open:
            return WaitReason.BUDGET
        deadline = self.terms.deadline_seconds
        if offer.age_seconds >= deadline or link.oldest_in_flight_seconds >= deadline:
            return WaitReason.INFEASIBLE
        return WaitReason.CREDIT if link.undetected_frames >= self._window_frames else None


def efficient_points(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Those that no other point beats in bytes and worth at once; bytes and worth both rise."""
    kept: list[OperatingPoint] = []
    for point in sorted(points, key=lambda p: (p.bpp, -p.utility)):
        if not kept or point.utility > kept[-1].utility:
            kept.append(point)
    return tuple(kept)
