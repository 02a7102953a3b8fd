"""The baselines' constants, chosen on the links for tuning: one constant at a time, twice around.

    start ─► for each constant: every value on its list, the others kept ─► the best stays ─► again

Best is the mean in-deadline accuracy over some links of every family, the same number of each where
there are as many. Links for reporting are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from slimlinks.errors import TraceError
from slimlinks.trace import Trace
from studies.controller.comparison.codec_figures import CodecFigures
from studies.controller.comparison.contender import Contender
from studies.controller.comparison.setting import Setting, make_world
from studies.controller.simulation.outcome import summarise
from studies.controller.simulation.recordings import is_for_tuning
from studies.controller.simulation.simulate import simulate

_WINDOWS = (None, 2, 3, 4, 6)
_ROUNDS = 2

GRIDS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "fixed": {"window_frames": _WINDOWS},
    "rate-based": {
        "safety": (0.9, 0.6, 0.7, 0.8, 1.0, 1.1),
        "weight": (None, 0.1, 0.2, 0.4, 0.7),
        "window_frames": _WINDOWS,
    },
    "robust-mpc": {
        "backlog": (0.0, 0.5, 1.0, 2.0, 4.0),
        "deadline_share": (0.9, 0.5, 0.6, 0.7, 0.8),
        "horizon": (5, 8),
        "late": (1.0, 0.0, 4.0),
        "switch": (0.0, 0.2),
        "window_frames": _WINDOWS,
    },
    "bola": {
        "low": (0.3, 0.1, 0.2, 0.4, 0.5, 0.6),
        "high": (0.9, 0.7, 0.8, 1.0, 1.2),
        "share": (0.5, 0.15, 0.2, 0.25, 0.35, 0.7),
        "log_utility": (False, True),
        "window_frames": _WINDOWS,
    },
    "delay-gradient": {
        "window_frames": _WINDOWS,
        "increase": (1.08, 1.2, 1.5, 2.0),
        "safety": (1.0, 0.7, 0.8, 0.9),
        "decrease": (0.85, 0.7, 0.95),
        "floor_share": (0.5, 0.25, 0.75, 1.0),
    },
}
"""For each baseline, each constant's values; the first one is where the search begins."""


class Tuned(NamedTuple):
    """What served a baseline best."""

    constants: dict[str, Any]
    score: float  # mean in-deadline accuracy with them


def spread_links(traces: Sequence[Trace], per_family: int) -> list[Trace]:
    """At most so many links of every family, spread over its names."""
    chosen: list[Trace] = []
    for family in sorted({trace.family for trace in traces}):
        links = [trace for trace in traces if trace.family == family]
        step = max(1.0, len(links) / per_family)
        chosen += [links[int(i * step)] for i in range(min(per_family, len(links)))]
    return chosen


def choose_links(traces: Sequence[Trace], per_family: int) -> list[Trace]:
    """Some of the links for tuning of every family."""
    return spread_links([t for t in traces if is_for_tuning(t.name)], per_family)


def tune(
    contender: Contender,
    setting: Setting,
    traces: Sequence[Trace],
    codecs: Mapping[str, CodecFigures],
) -> Tuned:
    """Give the constants that serve a baseline best.

    Raises:
        TraceError: a link is for reporting.
    """
    for trace in traces:
        if not is_for_tuning(trace.name):
            raise TraceError(f"{trace.name} is for reporting; tune on the other half")
    worlds = [make_world(setting, trace, codecs[contender.codec]) for trace in traces]

    def score(constants: Mapping[str, Any]) -> float:
        outcomes = (
            summarise(simulate(contender.build(world, setting.name, constants), world))
            for world in worlds
        )
        return sum(outcome.in_deadline_accuracy for outcome in outcomes) / len(worlds)

    return climb(GRIDS[contender.policy], score)


def climb(grid: Mapping[str, Sequence[Any]], score: Callable[[Mapping[str, Any]], float]) -> Tuned:
    """Coordinate ascent from the first value of each; ties keep what is there."""
    best = {name: values[0] for name, values in grid.items()}
    best_score = score(best)
    for _ in range(_ROUNDS):
        before = dict(best)
        for name, values in grid.items():
            for value in values:
                if value == best[name]:
                    continue
                tried = {**best, name: value}
                if (tried_score := score(tried)) > best_score + 1e-9:
                    best, best_score = tried, tried_score
        if best == before:
            break
    return Tuned(best, best_score)
