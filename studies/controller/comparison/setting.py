"""The cameras of the study, and the world that one of them makes of a recorded link.

a   768 x 576,  10 pictures/s, deadline 1 s
b   1280 x 720, 15 pictures/s, deadline 0.5 s
c   as a, with a long-term budget of 60 kB/s
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slimcontrol.budget import Budget
from slimlinks.trace import Trace
from studies.controller.comparison.codec_figures import CodecFigures
from studies.controller.simulation.world import World

# Chosen, above what a cloud on two cores took: medians of 42 to 73 ms of work and 0 to 8 ms besides
# on six links (studies/results/controller-live.md).
CLOUD_SECONDS = 0.09  # to decode and detect one frame
CLOUD_DELAY_SECONDS = 0.02  # waiting for a batch, storing and telling
ROUND_TRIP_SECONDS = 0.05  # chosen
STUDY_SECONDS = 120.0  # of each link, from its beginning


@dataclass(frozen=True)
class Setting:
    """A camera and what is asked of it."""

    name: str
    image_hw: tuple[int, int]  # pixels
    fps: float
    deadline_seconds: float
    round_trip_seconds: float = ROUND_TRIP_SECONDS
    cloud_seconds: float = CLOUD_SECONDS
    cloud_delay_seconds: float = CLOUD_DELAY_SECONDS
    seconds: float = STUDY_SECONDS
    budget: Budget | None = None

    def __str__(self) -> str:
        height, width = self.image_hw
        text = (
            f"{width} x {height}, {self.fps:g} pictures/s, deadline {self.deadline_seconds:g} s, "
            f"round trip {1000 * self.round_trip_seconds:.0f} ms"
        )
        if self.budget is not None:
            text += f", budget {self.budget.bytes_per_second / 1000:g} kB/s"
        return text


SETTING_A = Setting("a", (576, 768), 10.0, 1.0)
SETTING_B = Setting("b", (720, 1280), 15.0, 0.5)
SETTING_C = replace(SETTING_A, name="c", budget=Budget(60_000 * 60, 60))
SETTINGS = {setting.name: setting for setting in (SETTING_A, SETTING_B, SETTING_C)}


def make_world(setting: Setting, trace: Trace, codec: CodecFigures) -> World:
    """Put a camera of a setting, with a codec, before a link."""
    height, width = setting.image_hw
    return World(
        trace=trace,
        content=codec.content,
        points=codec.points,
        encode_seconds={
            level: codec.encode_seconds(level, height * width)
            for level in {point.level for point in codec.points}
        },
        seconds=setting.seconds,
        fps=setting.fps,
        image_hw=setting.image_hw,
        deadline_seconds=setting.deadline_seconds,
        round_trip_seconds=setting.round_trip_seconds,
        cloud_seconds=setting.cloud_seconds,
        cloud_delay_seconds=setting.cloud_delay_seconds,
        budget=setting.budget,
    )
