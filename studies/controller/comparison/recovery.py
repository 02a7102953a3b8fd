"""How long a contender takes after a step of the link: 4 Mbit/s, then 0.5, then 4 again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slimlinks.trace import Trace
from studies.controller.comparison.codec_figures import CodecFigures
from studies.controller.comparison.contender import Contender
from studies.controller.comparison.setting import Setting
from studies.controller.comparison.study import run_contender
from studies.controller.simulation.outcome import recovery_seconds, summarise

_HIGH, _LOW = 500_000.0, 62_500.0  # bytes per second
_STEP_SECONDS = 40.0
STEPS = Trace(
    "4 Mbit/s, 0.5, 4",
    "steps",
    (0.0, _STEP_SECONDS, 2 * _STEP_SECONDS),
    (_HIGH, _LOW, _HIGH),
    3 * _STEP_SECONDS,
)


@dataclass(frozen=True)
class Recovery:
    """One contender on the link with two steps."""

    setting: str
    contender: str
    down_seconds: float  # until accuracy is what it settles at on the slow link
    up_seconds: float  # the same on the fast link after it
    accuracy: float  # of the whole
    late_share: float


def measure_recovery(
    setting: Setting, contenders: Sequence[Contender], codecs: Mapping[str, CodecFigures]
) -> list[Recovery]:
    """Simulate the steps, each contender in a setting."""
    found = []
    steps = replace(setting, seconds=STEPS.seconds)
    for contender in contenders:
        run = run_contender(contender, steps, STEPS, codecs)
        outcome = summarise(run)
        down = recovery_seconds(run, _STEP_SECONDS, 2 * _STEP_SECONDS)
        up = recovery_seconds(run, 2 * _STEP_SECONDS)
        found.append(
            Recovery(
                setting.name,
                contender.name,
                down,
                up,
                outcome.in_deadline_accuracy,
                outcome.late_share,
            )
        )
    return found
