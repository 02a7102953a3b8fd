"""Congestion control by the delay's gradient, as in WebRTC: a target rate, and the point that fits.

    d   = change of one-way delay from one frame to the next
    d   = (change of bytes) / C + m + noise          1/C, m: a Kalman filter
    over-use:   m >  threshold for long enough       target = 0.85 * received rate
    under-use:  m < -threshold                       target is kept
    normal      target grows by 8 % a second; near the rate of the last over-use by a packet a trip

The threshold follows |m|: quickly up, slowly down. The target never exceeds 1.5 times the received
rate. A pacer spaces frames by bytes / target: below the smallest point the frame rate falls.

Source: Carlucci, De Cicco, Holmer and Mascolo, Analysis and Design of the Google Congestion Control
for WebRTC (MMSys 2016), sections 3 and 4; Holmer, Lundin, Carlucci, De Cicco and Mascolo,
draft-ietf-rmcat-gcc-02, sections 5 and 6 (increase). The filter with two states is that of
draft-alvestrand-rmcat-congestion-02, section 4: video packets there, whole frames here, which
differ in their bytes.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from slimcontrol.controller import Offer
from slimcontrol.link import SentFrame
from slimcontrol.point import OperatingPoint
from studies.controller.baselines.baseline import Baseline, Terms
from studies.controller.baselines.throughput import FIRST_RATE

_FIRST_COVARIANCE = (100e-12, 0.1e-6)  # of 1/C in (s/byte)^2, of m in s^2
_STATE_NOISE = (1e-19, 1e-9)  # the same, added for each frame
_NOISE_FLOOR = 1e-6  # s^2: a millisecond
_NOISE_WEIGHT = 0.05  # of a new residual
_THRESHOLD = 0.0125  # seconds, at first
_THRESHOLD_LIMITS = (0.006, 0.6)  # seconds
_THRESHOLD_RISE, _THRESHOLD_FALL = 0.01e3, 0.00018e3  # per second; the paper's are per millisecond
_OVERUSE_SECONDS = 0.01  # that m has to be above
_RATE_WINDOW_SECONDS = 0.5  # of the received rate
_MAX_OVER_RECEIVED = 1.5
_PACKET_BYTES = 1200
_RESPONSE_SECONDS = 0.1  # besides the round trip
_PROBES = 5  # first frames: the target is begun with, as by WebRTC's probes
_NEAR = 3.0  # standard deviations around the rate of earlier over-uses


class DelayGradient(Baseline):
    """Follows a target rate.

    Args:
        terms: Of the camera.
        decrease: Of the received rate at over-use, below 1.
        increase: A second, while far from the rate of earlier over-uses, above 1.
        safety: Part of the target that is used, above 0.
        floor_share: The target is never less than the smallest point at this part of the camera's
            rate of pictures: the configured minimum of a call.
        window_frames: See `Baseline`.
    """

    def __init__(
        self,
        terms: Terms,
        decrease: float = 0.85,
        increase: float = 1.08,
        safety: float = 1.0,
        floor_share: float = 0.5,
        window_frames: int | None = None,
    ) -> None:
        super().__init__(terms, window_frames)
        self._decrease, self._increase, self._safety = decrease, increase, safety
        self._floor_share = floor_share
        self.target = FIRST_RATE  # bytes per second
        self._filter = _DelayFilter()
        self._detector = _OveruseDetector()
        self._received: deque[tuple[float, int]] = deque()  # server's time, its bytes in total
        self._last: tuple[float, float, int] | None = None  # sent, server's time, bytes
        self._knee: tuple[float, float] | None = None  # mean, variance of rates at over-use
        self._send_from = -math.inf  # seconds: the pacer
        self._floor = 0.0  # bytes per second: see `floor_share`
        self._num_acks = 0

    def choose(self, offer: Offer) -> OperatingPoint | None:
        """The largest point within the target rate, when the pacer lets it go."""
        if offer.now < self._send_from:
            return None
        smallest = self.expected_bytes(self.front[0], offer.pixels)
        self._floor = self._floor_share * smallest / self.terms.frame_seconds
        rate = min(max(self._safety * self.target, self._floor), offer.budget.bytes_per_second)
        point = self.largest_within(rate * self.terms.frame_seconds, offer)
        # late by up to a frame's time does not count: pictures come on the camera's grid
        spacing = self.expected_bytes(point, offer.pixels) / max(rate, 1.0)
        start = max(self._send_from, offer.now - self.terms.frame_seconds)
        self._send_from = start + spacing
        return point

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """A new stream: the server's clock may be another."""
        super().on_connected(now, round_trip_seconds)
        self._received.clear()
        self._last = None

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Take one frame's delay, and set the target by it."""
        super().on_received(now, frame, server_time, received_bytes_total)
        if frame.sent_at is None:
            return
        self._num_acks += 1
        self._received.append((server_time, received_bytes_total))
        while len(self._received) > 2 and self._received[1][0] < server_time - _RATE_WINDOW_SECONDS:
            self._received.popleft()
        last, self._last = self._last, (frame.sent_at, server_time, frame.size_bytes)
        if self._num_acks <= _PROBES:
            self.target = self._decrease * self.throughput.harmonic_mean(_PROBES)
        if last is None:
            return
        gap = server_time - last[1]
        gradient = self._filter.add(frame.size_bytes - last[2], gap - (frame.sent_at - last[0]))
        self._set_target(self._detector.judge(gradient, gap), gap)

    @property
    def received_rate(self) -> float:
        """Bytes per second over the last half second, or over one frame if that took longer."""
        (first, bytes_then), (last, bytes_now) = self._received[0], self._received[-1]
        return (bytes_now - bytes_then) / max(last - first, 1e-3)

    def _set_target(self, use: int, gap: float) -> None:
        received = self.received_rate
        if use > 0:
            self.target = self._decrease * received
            mean, variance = self._knee or (received, (0.2 * received) ** 2)
            variance = 0.95 * variance + 0.05 * (received - mean) ** 2
            self._knee = (mean + 0.05 * (received - mean), variance)
        elif use == 0:
            if self._knee and received > self._knee[0] + _NEAR * math.sqrt(self._knee[1]):
                self._knee = None  # the link is another now
            if self._knee and abs(received - self._knee[0]) < _NEAR * math.sqrt(self._knee[1]):
                trips = gap / (_RESPONSE_SECONDS + self.throughput.round_trip)
                self.target += _PACKET_BYTES * min(1.0, trips)
            else:
                self.target *= self._increase ** min(gap, 1.0)
            self.target = min(self.target, _MAX_OVER_RECEIVED * received)
        self.target = max(self.target, self._floor)


class _DelayFilter:
    """Tells a queue that grows from a frame that is larger than the last one."""

    def __init__(self) -> None:
        self._state = np.array([1 / FIRST_RATE, 0.0])  # 1/C seconds a byte, m seconds
        self._covariance = np.diag(_FIRST_COVARIANCE)
        self._noise = _NOISE_FLOOR

    def add(self, more_bytes: int, more_seconds: float) -> float:
        """Give m in seconds after one more frame."""
        h = np.array([float(more_bytes), 1.0])
        covariance = self._covariance + np.diag(_STATE_NOISE)
        residual = more_seconds - float(h @ self._state)
        bounded = min(abs(residual), 3 * math.sqrt(self._noise))
        self._noise = max(
            _NOISE_FLOOR, (1 - _NOISE_WEIGHT) * self._noise + _NOISE_WEIGHT * bounded**2
        )
        gain = covariance @ h / (self._noise + float(h @ covariance @ h))
        self._state = self._state + gain * residual
        self._covariance = (np.eye(2) - np.outer(gain, h)) @ covariance
        return float(self._state[1])


class _OveruseDetector:
    """Compares the gradient with a threshold that adapts to it."""

    def __init__(self) -> None:
        self._threshold = _THRESHOLD
        self._above_seconds = 0.0
        self._last = 0.0

    def judge(self, gradient: float, gap: float) -> int:
        """1: the link is over-used, -1: under-used, 0: neither."""
        if gradient > self._threshold and gradient >= self._last:
            self._above_seconds += gap
        else:
            self._above_seconds = 0.0
        self._last = gradient
        use = 0
        if self._above_seconds > _OVERUSE_SECONDS:
            use = 1
        elif gradient < -self._threshold:
            use = -1
        self._adapt(gradient, gap)
        return use

    def _adapt(self, gradient: float, gap: float) -> None:
        distance = abs(gradient) - self._threshold
        if distance > 0.015:  # an outlier must not make it deaf
            return
        pace = _THRESHOLD_RISE if distance > 0 else _THRESHOLD_FALL
        low, high = _THRESHOLD_LIMITS
        moved = self._threshold + min(gap, 0.1) * pace * distance
        self._threshold = min(high, max(low, moved))
