"""An evaluation as a folder for people: report.md, report.html, plots and sheets.

The page is the Markdown rendered, with its pictures inside it: one file to send to somebody. Its
words are in this folder's report.md; its tables are made here.
"""

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from slimtrain.evaluation.evaluate import Evaluation
from slimtrain.evaluation.rows import EvaluationRow
from slimtrain.evaluation.summary import DETECTION_FIGURES, Comparison, Figure, Saving, Target
from slimtrain.figures.bootstrap import Interval, interval
from slimtrain.figures.mean_average_precision import MIN_LABELS, PSEUDO_LABEL_SCORE
from slimtrain.figures.rate_curve import MIN_OVERLAP, MIN_POINTS
from slimtrain.reporting.plots import plot_accuracy_lost, plot_rate_accuracy, plot_rate_distortion
from slimtrain.reporting.sheets import choose_shown, draw_box_sheet, draw_decoded_sheet

FIGURE_NAMES: dict[Figure, str] = {
    "map50": "mAP50 of all classes",
    "map50_frequent": f"mAP50 of classes with {MIN_LABELS} labels or more",
    "psnr_db": "PSNR",
}
NOTHING = "-"
_TEXT = Template(Path(__file__).with_name("report.md").read_text(encoding="utf-8"))
_PAGE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
_IMAGE = re.compile(r'src="([^"]+\.(png|jpg))"')
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def write_report(
    evaluation: Evaluation, out: Path, command: str, shown: Sequence[str] = ()
) -> Path:
    """Write everything that people look at; return the page.

    Args:
        out: the folder of the evaluation's tables.
        command: that made it, for the record.
        shown: file names of the pictures on the sheets; none chooses some.

    Raises:
        EvaluationError: a shown picture is not among those evaluated.
    """
    pictures = choose_shown(evaluation.pictures, shown)
    plots = [
        ("Rate and accuracy, all rows", "rate_accuracy.png"),
        ("Accuracy lost, the best rows of each codec", "accuracy_lost.png"),
        ("Rate and distortion, all rows", "rate_distortion.png"),
    ]
    plot_rate_accuracy(evaluation.curves, evaluation.uncompressed, out / plots[0][1])
    plot_accuracy_lost(evaluation.curves, out / plots[1][1])
    plot_rate_distortion(evaluation.curves, out / plots[2][1])
    sheets: list[tuple[str, str]] = []
    for served in evaluation.served:
        label = served.artifact.label
        stem = label.replace("/", "-")
        name = f"boxes_{stem}.jpg"
        if draw_box_sheet(served, evaluation.reference, pictures, out / name):
            sheets.append((f"{label}: boxes from features beside boxes from pixels", name))
        for number, picture in enumerate(pictures):
            name = f"decoded_{stem}_{number}.jpg"
            if draw_decoded_sheet(served, evaluation.baselines, picture, out / name):
                title = f"{label}: {picture.path.name} by level and quality; above, as many bytes"
                sheets.append((title, name))
    text = format_report(evaluation, command, plots, sheets)
    (out / "report.md").write_text(text)
    page = out / "report.html"
    page.write_text(render_page(text, out))
    return page


def render_page(text: str, folder: Path) -> str:
    """The Markdown as one HTML page that needs no other file; its pictures come from `folder`."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return _PAGE.substitute(body=_IMAGE.sub(lambda found: _embed(folder / found[1]), body))


def _embed(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'src="data:{_MEDIA_TYPES[path.suffix]};base64,{data}"'


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
    sources = Counter(picture.source for picture in evaluation.pictures)
    before = evaluation.uncompressed
    return _TEXT.substitute(
        command=command,
        count=len(evaluation.pictures),
        folders=", ".join(f"{count} of {source}" for source, count in sources.items()),
        labels=_labels_text(evaluation),
        detector=evaluation.detector,
        map50=f"{_number(before.map50, 3)}{_bounds(interval(before.sampled), 3)}",
        map=_number(before.map, 3),
        map50_frequent=_number(float(before.sampled_frequent[0]), 3),
        precision=evaluation.reference.runtime.precision,
        min_labels=MIN_LABELS,
        min_points=MIN_POINTS,
        min_overlap=f"{MIN_OVERLAP:.0%}",
        targets=format_headline(evaluation),
        comparisons=_pivot(
            {
                (c.curve, f"{FIGURE_NAMES[c.figure]}, vs {c.anchor}"): _comparison_cell(c)
                for c in evaluation.summary.comparisons
            }
        ),
        detect_then_view=_detect_then_view_table(evaluation.rows),
        rows=_table(
            list(_COLUMNS), ([cell(row) for cell in _COLUMNS.values()] for row in evaluation.rows)
        ),
        plots=_pictures_text(plots),
        sheets=_pictures_text(sheets),
        settings="\n".join(
            f"- **{codec.name}**: {codec.setting}" for codec in evaluation.baselines
        ),
    )


def format_headline(evaluation: Evaluation) -> str:
    """What the command prints: what each figure costs."""
    return "\n\n".join(_targets_table(evaluation, figure) for figure in DETECTION_FIGURES)


def _labels_text(evaluation: Evaluation) -> str:
    if evaluation.has_labels:
        return "Labels lie beside the pictures; a teacher's unsure boxes neither help nor harm."
    return (
        f"There are no labels: {evaluation.detector}'s own detections on the uncompressed pictures "
        f"(score >= {PSEUDO_LABEL_SCORE}) stand in for them, so mAP says how much of what the "
        "detector sees is kept, not how right it is."
    )


def _pictures_text(named: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"**{title}**\n\n![{title}]({name})" for title, name in named)


def _targets_table(evaluation: Evaluation, figure: Figure) -> str:
    targets = [target for target in evaluation.summary.targets if target.figure == figure]
    needed = {(t.curve, f"{t.target} ({t.value:.3f})"): _needed_cell(t) for t in targets}
    saved = {
        (t.curve, f"{t.target}, vs {saving.anchor}"): _saving_cell(saving)
        for t in targets
        if t.target != targets[0].target
        for saving in t.savings
    }
    parts = [f"### Bits per pixel for {FIGURE_NAMES[figure]}", _pivot(needed)]
    if saved:
        parts += [f"### Bytes saved at equal {FIGURE_NAMES[figure]}", _pivot(saved)]
    return "\n\n".join(parts)


def _needed_cell(target: Target) -> str:
    if target.rate is None:
        return NOTHING
    mark = "< " if target.rate.is_at_most else ""
    return f"{mark}{target.rate.bpp:.3f}{_bounds(target.interval, 3)}"


def _saving_cell(saving: Saving) -> str:
    if saving.percent is None:
        return NOTHING
    return f"{saving.percent:.0f} %{_bounds(saving.interval, 0)}"


def _comparison_cell(comparison: Comparison) -> str:
    found = comparison.bd_rate
    if found.percent is None or found.shared is None:
        return f"{NOTHING} ({found.reason})"
    digits = 1 if comparison.figure == "psnr_db" else 3
    low, high = found.shared
    bounds = _bounds(comparison.interval, 0)
    return f"**{found.percent:+.0f} %**{bounds}, {low:.{digits}f} to {high:.{digits}f}"


def _detect_then_view_table(rows: Sequence[EvaluationRow]) -> str:
    cells = {
        (f"{row.codec}, level {row.level}", f"quality {row.quality:g}"): f"{ratio:.3f}"
        for row in rows
        if (ratio := row.detect_then_view) is not None
    }
    if not cells:
        return "No row of these has both a narrower and the widest level of one model."
    return _pivot(cells)


def _change_cell(row: EvaluationRow) -> str:
    change, low, high = row.map50_change, row.map50_change_low, row.map50_change_high
    if change is None or low is None or high is None:
        return NOTHING
    mark = "" if low <= 0 <= high else " *"
    return f"{100 * change:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){mark}"


def _pivot(cells: Mapping[tuple[str, str], str]) -> str:
    """A table of cells by (codec, column), both in the order in which they appear."""
    codecs = dict.fromkeys(codec for codec, _ in cells)
    columns = dict.fromkeys(column for _, column in cells)
    lines = ([codec, *(cells.get((codec, c), NOTHING) for c in columns)] for codec in codecs)
    return _table(["codec", *columns], lines)


def _table(headers: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _bounds(bounds: Interval | None, digits: int) -> str:
    return "" if bounds is None else f" ({bounds.low:.{digits}f} to {bounds.high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None or value != value else f"{value:.{digits}f}"


_COLUMNS: dict[str, Callable[[EvaluationRow], str]] = {
    "codec": lambda row: row.codec,
    "level": lambda row: "" if row.level is None else str(row.level),
    "quality": lambda row: f"{row.quality:g}",
    "bytes": lambda row: str(row.bytes),
    "bpp": lambda row: _number(row.bpp, 4),
    "mAP50": lambda row: _number(row.map50, 3),
    "mAP50 kept": lambda row: _number(row.map50_relative, 3),
    "change": _change_cell,
    "frequent kept": lambda row: _number(row.map50_frequent_relative, 3),
    "mAP50:95": lambda row: _number(row.map, 3),
    "mAP50:95 kept": lambda row: _number(row.map_relative, 3),
    "mAP50 from pixels": lambda row: _number(row.map50_pixels, 3),
    "PSNR, dB": lambda row: _number(row.psnr_db, 2),
    "MS-SSIM": lambda row: _number(row.ms_ssim, 4),
    "kMAC/pixel, edge": lambda row: _number(row.kmac_per_pixel, 2),
    "encode, s": lambda row: _number(row.encode_seconds, 4),
    "decode, s": lambda row: _number(row.decode_seconds, 4),
    "steps trained": lambda row: _number(row.training_steps, 0),
}
