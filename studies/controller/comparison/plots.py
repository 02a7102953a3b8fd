"""The study's plots. Needs matplotlib (the extra `train`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from slimlinks.trace import Trace
from studies.controller.comparison.codec_figures import MODEL, CodecFigures
from studies.controller.comparison.contender import CONTROLLER, find_contenders
from studies.controller.comparison.setting import Setting
from studies.controller.comparison.study import LATENCY_STEP, Row, run_contender
from studies.controller.comparison.summary import ALL, BEST_AFTER, CHOSEN_BEFORE
from studies.controller.comparison.summary import Figures as FamilyFigures
from studies.controller.simulation.run import Run

COLOURS = {
    CONTROLLER: "#d62728",
    "rate-based": "#1f77b4",
    "robust-mpc": "#2ca02c",
    "bola": "#9467bd",
    "delay-gradient": "#8c564b",
    CHOSEN_BEFORE: "#999999",
    BEST_AFTER: "#555555",
    "jpeg-controller": "#ff7f0e",
    "jpeg-rate-based": "#ffbb78",
    "webp-controller": "#a0a000",
    "webp-rate-based": "#d4d47a",
}
SHOWN_IN_TIME = (CONTROLLER, "rate-based")
SHOWN_RATES = (50_000.0, 150_000.0)  # bytes per second: the least steady of these is shown in time
_DOTS_PER_INCH = 90


def plot_shares(figures: Sequence[FamilyFigures], setting: str, path: Path) -> None:
    """In-deadline accuracy over the upper bound of the model's codec, by family, with the
    bootstrap's interval; another codec may be above it.
    """
    own = [f for f in figures if f.setting == setting and f.contender in COLOURS]
    families = [*dict.fromkeys(f.family for f in own if f.family != ALL), ALL]
    names = [name for name in COLOURS if any(f.contender == name for f in own)]
    figure = Figure(figsize=(12, 4.6), dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    width = 0.85 / len(names)
    lowest = 1.0
    for place, name in enumerate(names):
        shares = [
            next(f.share for f in own if f.family == family and f.contender == name)
            for family in families
        ]
        at = np.arange(len(families)) + (place - (len(names) - 1) / 2) * width
        values = np.array([share.value for share in shares])
        ends = np.array([[s.value - s.low for s in shares], [s.high - s.value for s in shares]])
        axes.bar(at, values, width, color=COLOURS[name], label=name)
        axes.errorbar(at, values, np.maximum(ends, 0), fmt="none", ecolor="black", linewidth=0.7)
        lowest = min(lowest, float(values.min()))
    axes.axhline(0.95, color="black", linestyle=":", linewidth=0.8)
    axes.set_ylim(max(0.0, lowest - 0.08), 1.05)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(families)), families)
    axes.set_ylabel("in-deadline accuracy over the model's upper bound")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path)


def plot_latencies(rows: Sequence[Row], setting: str, deadline_seconds: float, path: Path) -> None:
    """Share of captured pictures with a result by then: a skipped one never has one."""
    figure = Figure(figsize=(8.5, 4.4), dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for name, colour in COLOURS.items():
        own = [row for row in rows if row.setting == setting and row.contender == name]
        if not own:
            continue
        counts = np.sum([row.latency_counts for row in own], axis=0)
        captured = sum(row.outcome.captured_frames for row in own)
        ends = (np.arange(len(counts)) + 1) * LATENCY_STEP
        width = 2.2 if name == CONTROLLER else 1.3
        axes.plot(ends[:-1], np.cumsum(counts)[:-1] / captured, color=colour, label=name, lw=width)
    axes.axvline(deadline_seconds, color="black", linestyle=":", linewidth=0.9)
    axes.set_xlim(0, 2 * deadline_seconds)
    axes.set_xlabel("seconds from capture to result (dotted: the deadline)")
    axes.set_ylabel("share of captured pictures")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path)


def plot_timeline(trace: Trace, runs: Mapping[str, Run], path: Path) -> None:
    """One link in time: its rate, what was sent each second, utility chosen, and latency."""
    figure = Figure(figsize=(12, 7.5), dpi=_DOTS_PER_INCH, layout="constrained")
    rate_axes, choice_axes, latency_axes = figure.subplots(3, 1, sharex=True)
    seconds = min(run.seconds for run in runs.values())
    grid = np.arange(0, seconds, 1.0)
    rates = [trace.bytes_between(t, t + 1) / 1000 for t in grid]
    rate_axes.fill_between(grid, rates, step="post", color="#dddddd", label="link")
    for name, run in runs.items():
        colour = COLOURS.get(name, "black")
        sent = [frame for frame in run.frames if frame.sent_at is not None]
        bytes_sent, _ = np.histogram(
            [frame.sent_at or 0.0 for frame in sent],
            bins=np.append(grid, seconds),
            weights=[frame.size_bytes for frame in sent],
        )
        rate_axes.step(grid, bytes_sent / 1000, where="post", color=colour, label=name, lw=1)
        times = [frame.captured_at for frame in sent]
        choice_axes.plot(times, [frame.utility for frame in sent], ".", color=colour, ms=3)
        latencies = [frame.latency_seconds or np.nan for frame in sent]
        latency_axes.plot(times, latencies, ".", color=colour, ms=3)
    deadline = next(iter(runs.values())).deadline_seconds
    latency_axes.axhline(deadline, color="black", linestyle=":", linewidth=0.9)
    latency_axes.set_ylim(0, 2 * deadline)
    rate_axes.set_ylim(0, 3 * max(1.0, float(np.median(rates))))
    rate_axes.set_ylabel("kB each second")
    choice_axes.set_ylabel("utility of the point sent")
    latency_axes.set_ylabel("latency, s")
    latency_axes.set_xlabel(f"seconds of {trace.name}")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path)


def write_plots(
    out: Path,
    rows: Sequence[Row],
    figures: Sequence[FamilyFigures],
    settings: Sequence[Setting],
    traces: Sequence[Trace],
    codecs: Mapping[str, CodecFigures],
) -> list[Path]:
    """Draw everything into a folder; gives what was drawn.

    Latencies of each setting, shares where a bound is known, one link in time.
    """
    paths = []
    for setting in settings:
        if any(row.setting == setting.name and not math.isnan(row.bound) for row in rows):
            paths.append(out / f"shares-{setting.name}.png")
            plot_shares(figures, setting.name, paths[-1])
        paths.append(out / f"latencies-{setting.name}.png")
        plot_latencies(rows, setting.name, setting.deadline_seconds, paths[-1])
    shown = [row.contender for row in rows if row.contender in SHOWN_IN_TIME]
    trace = max(traces, key=lambda trace: _unsteadiness(trace, settings[0].seconds))
    known = find_contenders(codecs[MODEL].points)
    runs = {
        name: run_contender(known[name], settings[0], trace, codecs)
        for name in dict.fromkeys(shown)
    }
    if runs:
        paths.append(out / "timeline.png")
        plot_timeline(trace, runs, paths[-1])
    return paths


def _unsteadiness(trace: Trace, seconds: float) -> float:
    """Standard deviation over mean of the bytes of each second; -1 out of `SHOWN_RATES`."""
    rates = np.array([trace.bytes_between(t, t + 1) for t in np.arange(0, seconds, 1.0)])
    low, high = SHOWN_RATES
    return float(rates.std() / rates.mean()) if low <= rates.mean() <= high else -1.0
