"""Small simulated worlds whose every figure can be worked out by hand; policies that do as told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from slimcontrol.controller import Decision, Offer, Verdict, WaitReason
from slimcontrol.link import SentFrame
from slimcontrol.point import OperatingPoint
from slimlinks.trace import constant_trace
from studies.controller.comparison.codec_figures import MODEL
from studies.controller.comparison.contender import CONTROLLER, Contender
from studies.controller.simulation.content import Content
from studies.controller.simulation.policy import Policy
from studies.controller.simulation.world import World

SMALL = OperatingPoint(0, 0.0, 0.1, 0.5)
LARGE = OperatingPoint(1, 0.0, 0.4, 1.0)


class Always:
    """Sends every picture at one point, and writes down what it is told."""

    def __init__(self, point: OperatingPoint = SMALL, predicted_bytes: int = 1) -> None:
        self.point = point
        self.predicted_bytes = predicted_bytes
        self.offers: list[Offer] = []
        self.calls: list[tuple[Any, ...]] = []

    def decide(self, offer: Offer) -> Decision:
        self.offers.append(offer)
        return Decision(Verdict.BEST, self.point, self.predicted_bytes, 0.0)

    def on_encoded(
        self,
        level: int,
        quality: float,
        pixels: int,
        size_bytes: int,
        seconds: float,
        is_inter: bool = False,
    ) -> None:
        self.calls.append(("encoded", level, quality, pixels, size_bytes, seconds))

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        sent = (frame.size_bytes, frame.sent_at, frame.behind)
        self.calls.append(("received", now, *sent, server_time, received_bytes_total))

    def on_detected(self, received: float, detected: float) -> None:
        self.calls.append(("detected", received, detected))

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        self.calls.append(("connected", now, round_trip_seconds))

    def told(self, what: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of one kind, in order."""
        return [call[1:] for call in self.calls if call[0] == what]


class OnlyWhenIdle(Always):
    """Lets a picture wait while anything is on its way."""

    def decide(self, offer: Offer) -> Decision:
        decision = super().decide(offer)
        if offer.link.idle:
            return decision
        return Decision(Verdict.SKIP, None, 0, 0.0, WaitReason.INFEASIBLE)


class Scripted(Always):
    """Sends each picture at the point that a script has for it, or lets it pass."""

    def __init__(self, script: Sequence[OperatingPoint | None], fps: float) -> None:
        super().__init__()
        self._script = script
        self._fps = fps

    def decide(self, offer: Offer) -> Decision:
        point = self._script[round((offer.now - offer.age_seconds) * self._fps)]
        if point is None:
            return Decision(Verdict.SKIP, None, 0, 0.0, WaitReason.WORTHLESS)
        return Decision(Verdict.BEST, point, 0, 0.0)


def make_content(sizes: Sequence[Sequence[int]] = ((1000, 4000),)) -> Content:
    """A video of 10 x 10 pixels: for each frame the bytes at `SMALL` and at `LARGE`."""
    return Content((0, 1), (0.0, 0.0), np.asarray(sizes, np.uint32), (10, 10))


def make_related_content() -> Content:
    """The same, whose frame takes 100 and 400 bytes against the one before, four times as many
    against the one that came 16 before.
    """
    sizes = np.array([[[100, 400]], [[400, 1600]]], np.uint32)
    return replace(make_content(), gaps=(1, 16), inter_sizes=sizes)


def make_world(**changes: Any) -> World:
    """A camera of 1 picture/s on a link of 10,000 B/s; nothing else takes time but to encode."""
    about: dict[str, Any] = {
        "trace": constant_trace(10_000.0),
        "content": make_content(),
        "points": (SMALL, LARGE),
        "encode_seconds": {0: 0.01, 1: 0.05},
        "seconds": 5.0,
        "fps": 1.0,
        "image_hw": (10, 10),
        "round_trip_seconds": 0.0,
        "cloud_seconds": 0.0,
        "overhead_bytes": 0,
        "warm_up": False,
    }
    return World(**{**about, **changes})


def make_controller(world: World) -> Policy:
    """The product's, as a study builds it."""
    return Contender(CONTROLLER, MODEL, CONTROLLER).build(world, "a")
