"""An evaluation as a folder for people: report.md, report.html, plots and sheets.

The page is the Markdown rendered, with its pictures inside it: one file to send to somebody.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from slimtrain.evaluation.evaluate import Evaluation
from slimtrain.reporting.plots import plot_accuracy_lost, plot_rate_accuracy, plot_rate_distortion
from slimtrain.reporting.sheets import choose_shown, draw_box_sheet, draw_decoded_sheet
from slimtrain.reporting.text import format_report

_TEMPLATE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
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
    return _TEMPLATE.substitute(body=_IMAGE.sub(lambda found: _embed(folder / found[1]), body))


def _embed(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'src="data:{_MEDIA_TYPES[path.suffix]};base64,{data}"'
