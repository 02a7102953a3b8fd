"""The report's plots: a figure over bits, one colour for each codec, levels as line styles."""

import math
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from slimtrain.evaluation.rows import BoxFigures, EvaluatedPoint, EvaluationRow
from slimtrain.evaluation.summary import Curve
from slimtrain.figures.mean_average_precision import MIN_LABELS
from slimtrain.figures.rate_curve import CurvePoint, front

MODEL_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#e377c2", "#006064")
BASELINE_COLOURS = {"jpeg": "#555555", "webp": "#a0a000", "avif": "#17a2b8", "hevc": "#8c564b"}
LineStyle = str | tuple[int, tuple[float, ...]]
# from the narrowest level; the widest is drawn through
LEVEL_STYLES: tuple[LineStyle, ...] = ((0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (5, 2)), "-")
DOTS_PER_INCH = 110

Read = Callable[[EvaluationRow], float | None]


def plot_rate_accuracy(curves: Sequence[Curve], uncompressed: BoxFigures, path: Path) -> None:
    """mAP50 over bits, of frequent and of all classes; dashed: the uncompressed pictures'."""
    figure = Figure(figsize=(15, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_rows(left, curves, lambda row: row.map50_frequent)
    _draw_uncompressed(left, float(uncompressed.sampled_frequent[0]))
    left.set_ylabel(f"mAP50, classes with {MIN_LABELS} labels or more (ours: from features)")
    _draw_rows(right, curves, lambda row: row.map50)
    _draw_uncompressed(right, float(uncompressed.sampled[0]))
    right.set_ylabel("mAP50, all classes (ours: from features)")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
    _finish(figure, path)


def plot_accuracy_lost(curves: Sequence[Curve], path: Path) -> None:
    """Each codec's front of the frequent classes' change of mAP50, with the paired interval."""
    figure = Figure(figsize=(11, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for codec, colour in _colours(curves).items():
        rows = _best_rows([p for c in curves if c.codec == codec for p in c.points])
        bpp = [row.bpp for row in rows]
        change, low, high = (
            [100 * (getattr(row, f"map50_frequent_change{end}") or 0.0) for row in rows]
            for end in ("", "_low", "_high")
        )
        axes.plot(bpp, change, color=colour, marker="o", markersize=4, label=codec)
        axes.fill_between(bpp, low, high, color=colour, alpha=0.12, linewidth=0)
    _draw_uncompressed(axes, 0.0)
    for points_lost in (1, 2):
        axes.axhline(-points_lost, color="black", linestyle=":", linewidth=0.7)
    axes.set_ylabel(
        f"change of mAP50, points, classes with {MIN_LABELS} labels or more; band: 95 % of draws"
    )
    _finish(figure, path)


def plot_rate_distortion(curves: Sequence[Curve], path: Path) -> None:
    """PSNR and MS-SSIM of the decoded picture over bits."""
    figure = Figure(figsize=(15, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_rows(left, curves, lambda row: row.psnr_db)
    left.set_ylabel("PSNR, dB")
    _draw_rows(right, curves, _ms_ssim_db)
    right.set_ylabel("MS-SSIM, dB: -10 log10(1 - MS-SSIM)")
    _finish(figure, path)


def _draw_uncompressed(axes: Axes, value: float) -> None:
    axes.axhline(value, color="black", linestyle="--", linewidth=1, label="uncompressed")


def _draw_rows(axes: Axes, curves: Sequence[Curve], read: Read) -> None:
    colours = _colours(curves)
    for curve in curves:
        if curve.is_best_of_levels:
            continue
        rows = sorted((point.row for point in curve.points), key=lambda row: row.bpp)
        there = [(row.bpp, value) for row in rows if (value := read(row)) is not None]
        if not there:
            continue
        axes.plot(
            [bpp for bpp, _ in there],
            [value for _, value in there],
            color=colours[curve.codec],
            linestyle=_level_style(curve, curves),
            marker="o" if curve.level is not None else "s",
            markersize=3.5,
            linewidth=1.5,
            label=curve.label,
        )


def _colours(curves: Sequence[Curve]) -> dict[str, str]:
    codecs = list(dict.fromkeys(curve.codec for curve in curves))
    models = cycle(MODEL_COLOURS)
    return {codec: BASELINE_COLOURS.get(codec) or next(models) for codec in codecs}


def _level_style(curve: Curve, curves: Sequence[Curve]) -> LineStyle:
    levels = sorted({c.level for c in curves if c.codec == curve.codec and c.level is not None})
    if curve.level is None:
        return "-"
    from_widest = len(levels) - 1 - levels.index(curve.level)
    return LEVEL_STYLES[max(0, len(LEVEL_STYLES) - 1 - from_widest)]


def _best_rows(points: Sequence[EvaluatedPoint]) -> list[EvaluationRow]:
    """A codec's rows that no other of it beats in bits and the frequent classes' mAP50, by rate."""
    rows = {p.row.bpp: p.row for p in points if p.row.map50_frequent is not None}
    return [
        rows[p.bpp]
        for p in front([CurvePoint(r.bpp, r.map50_frequent or 0.0) for r in rows.values()])
    ]


def _ms_ssim_db(row: EvaluationRow) -> float | None:
    if row.ms_ssim is None or row.ms_ssim >= 1:
        return None
    return -10 * math.log10(1 - row.ms_ssim)


def style_rate(axes: Axes, label: str = "bits per pixel, of whole files (log scale)") -> None:
    """Draw the axis of the rates as a logarithmic one, with plain numbers."""
    if math.isfinite(axes.dataLim.minposx):  # else nothing is drawn: the figure is not known
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _finish(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        style_rate(axes)
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        fontsize=9,
        handlelength=3.2,  # long enough to tell the line styles apart
    )
    figure.savefig(path)
