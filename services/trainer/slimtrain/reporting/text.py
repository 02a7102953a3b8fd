"""The report's words and tables, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from slimtrain.evaluation.evaluate import Evaluation
from slimtrain.evaluation.rows import MIN_LABELS
from slimtrain.evaluation.summary import (
    ANCHORS,
    DETECTION_FIGURES,
    Comparison,
    Figure,
    Target,
)
from slimtrain.evaluation.table import EvaluationRow
from slimtrain.figures.bootstrap import Interval, interval
from slimtrain.figures.mean_average_precision import PSEUDO_LABEL_SCORE
from slimtrain.figures.rate_curve import MIN_OVERLAP, MIN_POINTS

FIGURE_NAMES: dict[Figure, str] = {
    "map50": "mAP50 of all classes",
    "map50_frequent": f"mAP50 of classes with {MIN_LABELS} labels or more",
    "psnr_db": "PSNR",
}
NOTHING = "-"


def format_report(
    evaluation: Evaluation,
    command: str,
    plots: Sequence[tuple[str, str]],
    sheets: Sequence[tuple[str, str]],
) -> str:
    """The whole report.

    Args:
        command: that made it.
        plots: title and file name of each. `sheets` likewise.
    """
    parts = [
        "# Bytes against accuracy",
        _introduction(evaluation, command),
        "## What a figure costs",
        _targets_text(evaluation),
        *(_targets_table(evaluation, figure) for figure in DETECTION_FIGURES),
        "## BD-rate",
        "Rate at equal figure against JPEG and HEVC intra, in percent: negative is fewer bytes. "
        "In brackets the bootstrap's 95 %, then the range of the figure that both curves cover; "
        "the number says nothing about the rest. Where there is none: a front of fewer than "
        f"{MIN_POINTS} rows, or less than {MIN_OVERLAP:.0%} of the shorter front shared.",
        _comparison_table(evaluation),
        "## Detect first, view later",
        "Bytes of the stream that was sent for the detector and of what a viewer then still needs, "
        "over the bytes of the widest stream alone: 1.00 is no loss.",
        _detect_then_view_table(evaluation.rows),
        "## Plots",
        *(f"**{title}**\n\n![{title}]({name})" for title, name in plots),
        "## Every operating point",
        _rows_text(),
        _rows_table(evaluation.rows),
        "## Pictures",
        *(f"**{title}**\n\n![{title}]({name})" for title, name in sheets),
        "## The other codecs' settings",
        "\n".join(f"- **{codec.name}**: {codec.setting}" for codec in evaluation.baselines),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def format_headline(evaluation: Evaluation) -> str:
    """What the command prints: what each figure costs."""
    tables = [_targets_table(evaluation, figure) for figure in DETECTION_FIGURES]
    return "\n\n".join([_targets_text(evaluation), *tables])


def _introduction(evaluation: Evaluation, command: str) -> str:
    sources = Counter(picture.source for picture in evaluation.pictures)
    folders = ", ".join(f"{count} of {source}" for source, count in sources.items())
    if evaluation.has_labels:
        labels = "Labels lie beside the pictures; a teacher's unsure boxes neither help nor harm."
    else:
        labels = (
            f"There are no labels: {evaluation.detector}'s own detections on the uncompressed "
            f"pictures (score >= {PSEUDO_LABEL_SCORE}) stand in for them, so mAP says how much of "
            "what the detector sees is kept, not how right it is."
        )
    before = evaluation.uncompressed
    bounds = _bounds(interval(before.sampled), 3)
    return (
        f"{len(evaluation.pictures)} pictures: {folders}. {labels} Uncompressed, "
        f"{evaluation.detector} reaches mAP50 {_number(before.map50, 3)}{bounds}, mAP50:95 "
        f"{_number(before.map, 3)}, and {_number(float(before.sampled_frequent[0]), 3)} over the "
        f"classes with {MIN_LABELS} labels or more (pycocotools, confidence from 0.001; "
        f"graphs in {evaluation.reference.runtime.precision}). Bytes are of whole files. "
        f"Seconds are means per picture, on a machine that may have been doing other things.\n\n"
        f"```sh\n{command}\n```"
    )


def _targets_text(evaluation: Evaluation) -> str:
    return (
        "Bits per pixel at which a curve reaches a part of the uncompressed pictures' mAP50, or "
        "comes within so many points (0.01) of it; for our models with boxes from features. In "
        "brackets the bootstrap's 95 %; "
        f"{NOTHING} is never; < says that the cheapest row is better already. Read off each "
        "curve's front (the rows that no other of the curve beats in bits and mAP at once), "
        "between rows by the logarithm of the rate. The best of many noisy rows is a little too "
        "good, the more so the more rows a curve has. "
        "Saved bytes are at that same mAP50. "
        f"Classes with fewer than {MIN_LABELS} labels weigh as much in the mean over all classes "
        "as the others and make most of its noise: read the frequent classes first."
    )


def _targets_table(evaluation: Evaluation, figure: Figure) -> str:
    targets = [target for target in evaluation.summary.targets if target.figure == figure]
    names = list(dict.fromkeys(target.target for target in targets))
    anchors = [a for a in ANCHORS if any(s.anchor == a for t in targets for s in t.savings)]
    values = {target.target: target.value for target in targets}
    headers = [f"{name} ({values[name]:.3f})" for name in names]
    savings = [(name, anchor) for name in names[1:] for anchor in anchors]
    needed_lines: list[list[str]] = []
    saved_lines: list[list[str]] = []
    for curve in dict.fromkeys(target.curve for target in targets):
        mine = {target.target: target for target in targets if target.curve == curve}
        needed_lines.append([curve, *(_needed_cell(mine[name]) for name in names)])
        saved_lines.append([curve, *(_saving_cell(mine[name], other) for name, other in savings)])
    parts = [
        f"### Bits per pixel for {FIGURE_NAMES[figure]}",
        _table(["codec", *headers], needed_lines),
    ]
    if savings:
        saved_headers = [f"{name}, vs {anchor}" for name, anchor in savings]
        parts.append(f"### Bytes saved at equal {FIGURE_NAMES[figure]}")
        parts.append(_table(["codec", *saved_headers], saved_lines))
    return "\n\n".join(parts)


def _needed_cell(target: Target) -> str:
    if target.rate is None:
        return NOTHING
    mark = "< " if target.rate.is_at_most else ""
    return f"{mark}{target.rate.bpp:.3f}{_bounds(target.interval, 3)}"


def _saving_cell(target: Target, anchor: str) -> str:
    for saving in target.savings:
        if saving.anchor == anchor and saving.percent is not None:
            return f"{saving.percent:.0f} %{_bounds(saving.interval, 0)}"
    return NOTHING


def _comparison_table(evaluation: Evaluation) -> str:
    comparisons = evaluation.summary.comparisons
    columns = list(dict.fromkeys((c.figure, c.anchor) for c in comparisons))
    lines = []
    for curve in dict.fromkeys(c.curve for c in comparisons):
        mine = {(c.figure, c.anchor): c for c in comparisons if c.curve == curve}
        lines.append([curve, *(_comparison_cell(mine.get(column)) for column in columns)])
    headers = ["codec", *(f"{FIGURE_NAMES[figure]}, vs {anchor}" for figure, anchor in columns)]
    return _table(headers, lines)


def _comparison_cell(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    found = comparison.bd_rate
    if found.percent is None or found.shared is None:
        return f"{NOTHING} ({found.reason})"
    digits = 1 if comparison.figure == "psnr_db" else 3
    low, high = found.shared
    bounds = _bounds(comparison.interval, 0)
    return f"**{found.percent:+.0f} %**{bounds}, {low:.{digits}f} to {high:.{digits}f}"


def _detect_then_view_table(rows: Sequence[EvaluationRow]) -> str:
    there = [row for row in rows if row.detect_then_view is not None]
    if not there:
        return "No row of these has both a narrower and the widest level of one model."
    qualities = sorted({row.quality for row in there})
    lines: list[list[str]] = []
    for codec, level in dict.fromkeys((row.codec, row.level) for row in there):
        by_quality = {
            row.quality: row.detect_then_view
            for row in there
            if row.codec == codec and row.level == level
        }
        ratios = [_number(by_quality.get(quality), 3) for quality in qualities]
        lines.append([codec, str(level), *ratios])
    return _table(["codec", "base level", *(f"quality {q:g}" for q in qualities)], lines)


def _rows_text() -> str:
    return (
        "mAP of our models is from features, of the others from the decoded picture; *from pixels* "
        "is the uncut detector on the decoded picture for all. *Kept* is relative to the "
        f"uncompressed pictures, *frequent* over the classes with {MIN_LABELS} labels or more. "
        "*Change* is in points, with the paired bootstrap's 95 %, and has a * where that excludes "
        f"zero. {NOTHING}: not made for that, or not known. The same with all digits is in "
        "`table.csv` and `table.json`, the pictures are listed in `pictures.txt`."
    )


def _rows_table(rows: Sequence[EvaluationRow]) -> str:
    headers = ["codec", "level", "quality", "bytes", "bpp", "mAP50", "kept", "change"]
    headers += ["frequent kept", "mAP50:95", "kept", "mAP50 from pixels", "PSNR, dB", "MS-SSIM"]
    headers += ["kMAC/pixel, edge", "encode, s", "decode, s", "steps trained"]
    return _table(headers, [_row_cells(row) for row in rows])


def _row_cells(row: EvaluationRow) -> list[str]:
    return [
        row.codec,
        "" if row.level is None else str(row.level),
        f"{row.quality:g}",
        str(row.bytes),
        _number(row.bpp, 4),
        _number(row.map50, 3),
        _number(row.map50_relative, 3),
        _change_cell(row),
        _number(row.map50_frequent_relative, 3),
        _number(row.map, 3),
        _number(row.map_relative, 3),
        _number(row.map50_pixels, 3),
        _number(row.psnr_db, 2),
        _number(row.ms_ssim, 4),
        _number(row.kmac_per_pixel, 2),
        _number(row.encode_seconds, 4),
        _number(row.decode_seconds, 4),
        NOTHING if row.training_steps is None else str(row.training_steps),
    ]


def _change_cell(row: EvaluationRow) -> str:
    change, low, high = row.map50_change, row.map50_change_low, row.map50_change_high
    if change is None or low is None or high is None:
        return NOTHING
    mark = "" if low <= 0 <= high else " *"
    return f"{100 * change:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){mark}"


def _table(headers: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _bounds(bounds: Interval | None, digits: int) -> str:
    return "" if bounds is None else f" ({bounds.low:.{digits}f} to {bounds.high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
