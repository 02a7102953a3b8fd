"""The controller in simulated worlds: a codec's points, worlds of its size, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimlinks.trace import Trace, constant_trace
from studies.controller.simulation.content import load_street
from studies.controller.simulation.run import FrameOutcome, Run
from studies.controller.simulation.simulate import simulate
from studies.controller.simulation.world import World

# (bits per pixel, utility) by quality, for each level: as slim-n/3 was measured, rounded.
_TABLE = (
    ((0.11, 0.70), (0.145, 0.83), (0.195, 0.89), (0.256, 0.912), (0.323, 0.925), (0.391, 0.938)),
    ((0.142, 0.77), (0.195, 0.85), (0.268, 0.918), (0.371, 0.945), (0.492, 0.945), (0.608, 0.945)),
    ((0.180, 0.77), (0.254, 0.856), (0.355, 0.918), (0.50, 0.945), (0.70, 0.945), (0.945, 0.946)),
    ((0.212, 0.77), (0.305, 0.856), (0.431, 0.918), (0.611, 0.945), (0.873, 0.946), (1.25, 0.957)),
)
POINTS = tuple(
    OperatingPoint(level, float(quality), bpp, utility)
    for level, row in enumerate(_TABLE)
    for quality, (bpp, utility) in enumerate(row)
)
SECONDS_PER_PIXEL = {0: 1.3e-8, 1: 3e-8, 2: 9e-8, 3: 1.7e-7}


def make_camera(trace: Trace | float, **changes: Any) -> World:
    """A camera of 768 x 576 pixels, 10 pictures/s and a deadline of 1 s.

    Args:
        trace: Of the link; a number for a constant one, bytes per second.
    """
    image_hw: tuple[int, int] = changes.get("image_hw", (576, 768))
    pixels = image_hw[0] * image_hw[1]
    about: dict[str, Any] = {
        "trace": constant_trace(trace) if isinstance(trace, float) else trace,
        "content": load_street().alone,
        "points": POINTS,
        "encode_seconds": {n: seconds * pixels for n, seconds in SECONDS_PER_PIXEL.items()},
        "seconds": 60.0,
    }
    return World(**{**about, **changes})


def control(world: World) -> Run:
    """Let a new controller run a world."""
    return simulate(make_controller(world), world)


def make_controller(world: World) -> Controller:
    """A controller as the edge would build it for a world."""
    return Controller(
        POINTS,
        SECONDS_PER_PIXEL,
        deadline_seconds=world.deadline_seconds,
        frame_seconds=world.frame_seconds,
        cpu_share=world.cpu_share,
    )


def sent(run: Run, after: float = 0.0, before: float = float("inf")) -> list[FrameOutcome]:
    """The frames captured in a time that were sent."""
    return [f for f in run.frames if f.sent_at is not None and after <= f.captured_at < before]


def accuracy(run: Run, after: float = 0.0, before: float = float("inf")) -> float:
    """Mean utility in time of the pictures captured from `after` until `before`."""
    frames = [f for f in run.frames if after <= f.captured_at < before]
    in_time = [f.utility for f in frames if f.is_in_time(run.deadline_seconds)]
    return sum(in_time) / len(frames)


def late(frames: Sequence[FrameOutcome], deadline_seconds: float) -> int:
    """How many of them came late or never, probes left out."""
    return sum(not (f.is_in_time(deadline_seconds) or f.probe) for f in frames)
