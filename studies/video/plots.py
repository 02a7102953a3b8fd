"""Plots of videos: AP50 over bits a second by frames a second, and bytes over time with keys."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from slimtrain.evaluation.evaluate_videos import VideoResult
from slimtrain.evaluation.video import CLASSES
from slimtrain.reporting.plots import DOTS_PER_INCH, style_rate

_COLUMNS = [f"ap50_{name}{end}" for name in CLASSES for end in ("", "_labels")]


def plot_videos(results: Sequence[VideoResult], out: Path) -> None:
    """Two pictures of each camera and noise: `accuracy_NAME.png` and `bytes_NAME.png`."""
    by_clip = sorted(results, key=lambda r: (r.row.camera, r.row.noise))
    for (camera, noise), group in groupby(by_clip, lambda r: (r.row.camera, r.row.noise)):
        of_camera = list(group)
        name = f"{camera}_noise{noise:g}" if noise else camera
        _plot_accuracy(of_camera, out / f"accuracy_{name}.png")
        _plot_bytes(of_camera, out / f"bytes_{name}.png")


def _lines(results: Iterable[VideoResult]) -> dict[str, list[VideoResult]]:
    """The rows of each line, by its name, cheapest first; the uncompressed frames are no line."""
    lines: dict[str, list[VideoResult]] = {}
    for result in sorted(results, key=lambda r: r.row.kbit_per_second):
        row = result.row
        level = "" if row.level is None else f" level {row.level}"
        fine = "fine " if row.fine_keys else ""
        key = "" if row.key_seconds is None else f", {fine}key {row.key_seconds:g} s"
        lost = f", {row.lost:.0%} lost" if row.lost else ""
        if result.num_bytes:
            lines.setdefault(f"{row.coder}{level}{key}{lost}", []).append(result)
    return dict(sorted(lines.items()))


def _plot_accuracy(results: Sequence[VideoResult], path: Path) -> None:
    rates = sorted({result.row.fps for result in results})
    columns = [c for c in _COLUMNS if any(getattr(r.row, c) is not None for r in results)]
    names = list(_lines(results))
    size = (6 * len(rates) + 3, 4 * max(1, len(columns)))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(max(1, len(columns)), len(rates), squeeze=False)
    for (row, column), axes in np.ndenumerate(grid[: len(columns)]):
        here = [result for result in results if result.row.fps == rates[column]]
        for label, line in _lines(here).items():
            axes.plot(
                [result.row.kbit_per_second for result in line],
                [getattr(result.row, columns[row]) for result in line],
                color=f"C{names.index(label) % 10}",
                linestyle=":" if line[0].row.lost else "-",
                marker="o",
                markersize=3,
                label=label,
            )
        for result in here:
            if not result.num_bytes and (value := getattr(result.row, columns[row])) is not None:
                axes.axhline(value, color="black", linestyle="--", linewidth=0.8)
        axes.set(ylabel=columns[row].replace("_", " "), title=f"{rates[column]:g} frames/s")
        style_rate(axes, "kbit/s (log scale)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path)


def _plot_bytes(results: Sequence[VideoResult], path: Path) -> None:
    """Bytes of each frame over time, of the middle quality of each line, keys as dots; below, how
    much changed, as the last coder has it that knows.
    """
    rate = max(result.row.fps for result in results)
    lines = _lines(r for r in results if r.row.fps == rate and not r.row.lost)
    figure = Figure(figsize=(12, 5), dpi=DOTS_PER_INCH, layout="constrained")
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=(8, 1))
    strip.set_visible(False)
    for label, line in lines.items():
        middle = line[len(line) // 2]
        seconds = np.arange(len(middle.num_bytes)) / rate
        keys = np.flatnonzero(middle.is_key)
        marks = keys.tolist() if len(keys) < len(seconds) else []
        axes.plot(seconds, middle.num_bytes, "-o", linewidth=1, markevery=marks, label=label)
        changed = np.asarray(middle.changed, np.float64)  # None: NaN, which stays white
        if not np.isnan(changed).all():
            strip.set_visible(True)
            extent = (0, len(seconds) / rate, 0, 1)
            strip.imshow(changed[np.newaxis], aspect="auto", extent=extent, vmin=0, vmax=1)
    axes.set(yscale="log", ylabel=f"bytes of a frame, {rate:g} frames/s; dots: keys")
    axes.set(xlabel="seconds")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", fontsize=8)
    strip.set(xlabel="seconds; how much changed", yticks=[])
    figure.savefig(path)
