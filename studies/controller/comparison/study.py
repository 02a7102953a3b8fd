"""The study: every contender on every link, in every setting, in parallel.

    (setting, link) ─► world ─► each contender ─► Row          one process does one link at a time
                          └───► oracle ─────────► upper bound, for the share of it

A row is one contender on one link. Nothing depends on the number of processes or on their order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from slimlinks.trace import Trace
from studies.controller.bound.known_bounds import KnownBounds
from studies.controller.bound.oracle import oracle
from studies.controller.comparison.codec_figures import MODEL, CodecFigures
from studies.controller.comparison.contender import Contender
from studies.controller.comparison.json_value import json_value
from studies.controller.comparison.setting import Setting, make_world
from studies.controller.simulation.outcome import Outcome, summarise
from studies.controller.simulation.run import Run
from studies.controller.simulation.simulate import simulate

LATENCY_STEP = 0.02  # seconds of one bin of `Row.latency_counts`
LATENCY_BINS = 150  # the last one holds all that is longer


@dataclass(frozen=True)
class Row:
    """One contender on one link."""

    setting: str
    family: str
    trace: str
    contender: str
    outcome: Outcome
    bound: float  # of in-deadline accuracy, by the oracle with the model's codec; NaN: not computed
    latency_counts: tuple[int, ...]  # frames with a result, by latency


@dataclass(frozen=True)
class Task:
    """One link in one setting."""

    setting: Setting
    trace: Trace
    contenders: tuple[Contender, ...]
    bound: float | None  # if it is known


def run_study(
    traces: Sequence[Trace],
    settings: Iterable[Setting],
    contenders: Sequence[Contender],
    codecs: Mapping[str, CodecFigures],
    *,
    processes: int = 1,
    bounds: KnownBounds | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """Simulate everything.

    Args:
        traces: Links.
        settings: Cameras.
        contenders: Policies.
        codecs: By name; each contender's.
        processes: That share the work.
        bounds: Upper bounds that are known; others are computed and put there, if it may grow.
            None: there are none.
        progress: Is told how many links are done, of how many.
    """
    tasks = [
        Task(setting, trace, tuple(contenders), _known(setting, trace, codecs, bounds))
        for setting in settings
        for trace in traces
    ]
    work = partial(run_task, codecs)
    if processes == 1:
        results: Iterable[list[Row]] = map(work, tasks)
        return _collect(tasks, results, codecs, bounds, progress)
    with ProcessPoolExecutor(processes) as pool:
        return _collect(tasks, pool.map(work, tasks), codecs, bounds, progress)


def run_task(codecs: Mapping[str, CodecFigures], task: Task) -> list[Row]:
    """Simulate all contenders on one link."""
    bound = task.bound
    if bound is None:
        bound = oracle(make_world(task.setting, task.trace, codecs[MODEL]))
    rows = []
    for contender in task.contenders:
        run = run_contender(contender, task.setting, task.trace, codecs)
        rows.append(
            Row(
                task.setting.name,
                task.trace.family,
                task.trace.name,
                contender.name,
                summarise(run),
                bound,
                _count_latencies(run),
            )
        )
    return rows


def run_contender(
    contender: Contender, setting: Setting, trace: Trace, codecs: Mapping[str, CodecFigures]
) -> Run:
    """Simulate one contender on one link."""
    world = make_world(setting, trace, codecs[contender.codec])
    return simulate(contender.build(world, setting.name), world)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Keep the rows as JSON lines; NaN as null."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            flat = asdict(row)
            flat |= flat.pop("outcome")
            file.write(json.dumps(json_value(flat), allow_nan=False) + "\n")


def _known(
    setting: Setting,
    trace: Trace,
    codecs: Mapping[str, CodecFigures],
    bounds: KnownBounds | None,
) -> float | None:
    if bounds is None:
        return math.nan
    known = bounds.find(make_world(setting, trace, codecs[MODEL]))
    return math.nan if known is None and not bounds.may_grow else known


def _collect(
    tasks: Sequence[Task],
    results: Iterable[list[Row]],
    codecs: Mapping[str, CodecFigures],
    bounds: KnownBounds | None,
    progress: Callable[[int, int], None],
) -> list[Row]:
    rows: list[Row] = []
    for done, (task, some) in enumerate(zip(tasks, results, strict=True), 1):
        rows += some
        if bounds is not None and task.bound is None and some:
            bounds.keep(make_world(task.setting, task.trace, codecs[MODEL]), some[0].bound)
        progress(done, len(tasks))
    return rows


def _count_latencies(run: Run) -> tuple[int, ...]:
    latencies = [frame.latency_seconds for frame in run.frames if frame.latency_seconds is not None]
    bins = np.minimum(np.array(latencies) / LATENCY_STEP, LATENCY_BINS - 1).astype(int)
    return tuple(int(count) for count in np.bincount(bins, minlength=LATENCY_BINS))
