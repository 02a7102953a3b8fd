"""Model predictive control with a lower bound of the link's rate.

    rate  = harmonic mean of the last 5 / (1 + largest relative error of the last 5 predictions)
    value = sum over the next N frames of  u [in time]  -  late * seconds late  -  switch * |u - u'|

of a model of encoder, link and cloud, three queues in a row, begun with what is on its way. The
plan is one point (or none) for the offered frame, and one point (or none) for all frames or every
second frame after it; only its first step is done, then it is planned anew. To leave a frame out is
the camera's own move: a player, as in the paper, must fetch every segment. The player's buffer is
the deadline here.

Source: Yin, Jindal, Sekar and Sinopoli, A Control-Theoretic Approach for Dynamic Adaptive Video
Streaming over HTTP (SIGCOMM 2015), sections 3 (objective), 4 and 5.2 (RobustMPC). One move and then
a constant one is move blocking, as usual in model predictive control; the paper enumerates all.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from slimcontrol.controller import Offer
from slimcontrol.link import SentFrame
from slimcontrol.point import OperatingPoint
from studies.controller.baselines.baseline import Baseline, Terms

_SAMPLES = 5  # of throughput, and of errors


class RobustMpc(Baseline):
    """Plans the next frames and sends the first.

    Args:
        terms: Of the camera.
        horizon: Frames that are planned.
        deadline_share: Of the deadline that may be planned, above 0, at most 1.
        late: Cost of a second of lateness, in utility.
        switch: Cost of a change of utility from one frame to the next.
        backlog: Cost of a second that link or cloud still owe when the plan ends; 0 in the paper,
            where the buffer of the next plan says it.
        window_frames: See `Baseline`.
    """

    def __init__(
        self,
        terms: Terms,
        horizon: int = 5,
        deadline_share: float = 0.9,
        late: float = 1.0,
        switch: float = 0.0,
        backlog: float = 0.0,
        window_frames: int | None = None,
    ) -> None:
        super().__init__(terms, window_frames)
        self._horizon = horizon
        self._deadline = deadline_share * terms.deadline_seconds
        self._late = late
        self._switch = switch
        self._backlog = backlog
        self._errors: deque[float] = deque(maxlen=_SAMPLES)
        self._last_utility: float | None = None
        count = len(self.front) + 1  # the last one: leave the frame out
        first, rest, stride = np.meshgrid(np.arange(count), np.arange(count), (1, 2))
        self._plans = (first.ravel(), rest.ravel())
        self._stride = stride.ravel()  # of the rest: each frame, or every second one
        self._sent = np.array([1.0] * len(self.front) + [0.0])
        self._utility = np.array([point.utility for point in self.front] + [0.0])

    @property
    def safe_rate(self) -> float:
        """Bytes per second to plan with."""
        mean = self.throughput.harmonic_mean(_SAMPLES)
        return mean / (1 + max(self._errors, default=0.0))

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn how fast the link is, and how wrong the last prediction was."""
        predicted = self.throughput.harmonic_mean(_SAMPLES)
        known = bool(self.throughput.samples)
        super().on_received(now, frame, server_time, received_bytes_total)
        if known:
            actual = self.throughput.samples[-1]
            self._errors.append(abs(predicted - actual) / actual)

    def choose(self, offer: Offer) -> OperatingPoint | None:
        """The first step of the best plan."""
        allowed = np.array([False] * len(self.front) + [True])
        allowed[[self.front.index(point) for point, _ in self.candidates(offer)]] = True
        possible = allowed[self._plans[0]] & allowed[self._plans[1]]
        values = np.where(possible, self._values(offer), -np.inf)
        first = int(self._plans[0][int(np.argmax(values))])
        if first == len(self.front):
            # a link of which nothing is asked teaches nothing: the smallest point goes then
            return self.front[0] if offer.link.idle else None
        self._last_utility = self.front[first].utility
        return self.front[first]

    def _values(self, offer: Offer) -> NDArray[np.float64]:
        """What every plan is worth: (plans,)."""
        link, frame_seconds = offer.link, self.terms.frame_seconds
        rate = min(self.safe_rate, offer.budget.bytes_per_second)
        sizes = [self.expected_bytes(point, offer.pixels) for point in self.front]
        transfer = np.array([*sizes, 0.0]) / rate  # (points,) seconds
        encode = np.array([self.encode_seconds(p, offer.pixels) for p in self.front] + [0.0])
        cloud = self.service_seconds
        plans = len(self._plans[0])
        encoder_free = np.zeros(plans)
        link_free = np.full(plans, link.in_flight_bytes / rate)
        cloud_free = np.full(plans, link.undetected_frames * cloud)
        start = -np.inf if self._last_utility is None else self._last_utility
        last_utility = np.full(plans, start)
        value = np.zeros(plans)
        for step in range(self._horizon):
            chosen = self._plans[0 if step == 0 else 1]
            sent, utility = self._sent[chosen], self._utility[chosen]
            if step % 2:
                sent = sent * (self._stride == 1)
            captured = step * frame_seconds - offer.age_seconds
            encoded = np.maximum(max(captured, 0.0), encoder_free) + encode[chosen]
            arrived = np.maximum(encoded, link_free) + transfer[chosen]
            detected = np.maximum(arrived, cloud_free) + cloud
            lateness = detected + self.throughput.round_trip - captured - self._deadline
            gain = np.where(lateness <= 0, utility, -self._late * lateness)
            if self._switch:
                known = np.isfinite(last_utility)
                gain -= self._switch * np.where(
                    known, np.abs(utility - np.where(known, last_utility, 0.0)), 0.0
                )
                last_utility = np.where(sent > 0, utility, last_utility)
            value += sent * gain
            encoder_free = np.where(sent > 0, encoded, encoder_free)
            link_free = np.where(sent > 0, arrived, link_free)
            cloud_free = np.where(sent > 0, detected, cloud_free)
        ends = self._horizon * frame_seconds - offer.age_seconds
        owed = np.maximum(link_free, cloud_free) - ends
        return value - self._backlog * np.maximum(0.0, owed)
