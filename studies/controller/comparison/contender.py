"""Who is compared, by name: the controller, the baselines, and other codecs behind either.

    controller                      the product's
    fixed-0-2 ...                   one (level, quality) for ever; one for each point
    rate-based, robust-mpc, bola, delay-gradient      see `studies.controller.baselines`
    jpeg-controller, jpeg-rate-based, webp-...        another codec's points, same detector

Each baseline runs with the constants that were best on the links for tuning, in each setting of its
own (`tuned.json`, made by `comparison.tuning`); the controller has one set of constants for
all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from studies.controller.baselines import (
    Baseline,
    Bola,
    DelayGradient,
    FixedPoint,
    RateBased,
    RobustMpc,
    Terms,
)
from studies.controller.comparison.codec_figures import MODEL
from studies.controller.errors import WorldError
from studies.controller.simulation.policy import Policy
from studies.controller.simulation.world import World

CONTROLLER = "controller"
ADAPTIVE: Mapping[str, Callable[..., Baseline]] = {
    "rate-based": RateBased,
    "robust-mpc": RobustMpc,
    "bola": Bola,
    "delay-gradient": DelayGradient,
}
FIXED = "fixed-"  # begins the name of each contender with one point
LADDERS = ("jpeg", "webp")  # codecs other than the model's
_OF_LADDERS = (CONTROLLER, "rate-based")

Constants = Mapping[str, Any]  # a baseline's own arguments, by name


@dataclass(frozen=True)
class Contender:
    """A policy and the codec that it drives."""

    name: str
    codec: str  # `MODEL`, or one of `LADDERS`
    policy: str
    point: tuple[int, float] | None = None  # of a fixed one: level, quality

    def build(self, world: World, setting: str, constants: Constants | None = None) -> Policy:
        """Give a new policy for a world.

        Args:
            world: Its points and times are what the policy is told.
            setting: Whose tuned constants are taken.
            constants: Taken instead of them.
        """
        if self.policy == CONTROLLER:
            return Controller(
                world.points,
                _seconds_per_pixel(world),
                deadline_seconds=world.deadline_seconds,
                frame_seconds=world.frame_seconds,
            )
        own = tuned(setting).get(self.name, {}) if constants is None else constants
        if self.point is not None:
            return FixedPoint(_terms(world), self._find(world.points), **own)
        return ADAPTIVE[self.policy](_terms(world), **own)

    def _find(self, points: tuple[OperatingPoint, ...]) -> OperatingPoint:
        for point in points:
            if (point.level, point.quality) == self.point:
                return point
        raise WorldError(f"{self.name}: the codec has no such point; name one that it has")


def find_contenders(points: tuple[OperatingPoint, ...]) -> dict[str, Contender]:
    """All of them, by name.

    Args:
        points: Of the model's codec: each becomes a fixed contender.
    """
    fixed = [
        Contender(fixed_name(p.level, p.quality), MODEL, "fixed", (p.level, p.quality))
        for p in points
    ]
    others = [Contender(name, MODEL, name) for name in (CONTROLLER, *ADAPTIVE)]
    ladders = [
        Contender(f"{codec}-{policy}", codec, policy) for codec in LADDERS for policy in _OF_LADDERS
    ]
    return {contender.name: contender for contender in (*others, *fixed, *ladders)}


def fixed_name(level: int, quality: float) -> str:
    """The name of a camera with one setting."""
    return f"{FIXED}{level}-{quality:g}"


@cache
def tuned(setting: str) -> dict[str, dict[str, Any]]:
    """The constants of each baseline in a setting; those of "a" where there are no others."""
    text = files("studies.controller.baselines").joinpath("tuned.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return table.get(setting, table.get("a", {}))


def _seconds_per_pixel(world: World) -> dict[int, float]:
    return {level: seconds / world.pixels for level, seconds in world.encode_seconds.items()}


def _terms(world: World) -> Terms:
    return Terms(
        world.points, _seconds_per_pixel(world), world.deadline_seconds, world.frame_seconds
    )
