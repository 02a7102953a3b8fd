"""A study as a folder: report.md for people, figures.json and rows.jsonl for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from studies.controller.comparison.codec_figures import CodecFigures
from studies.controller.comparison.contender import Contender
from studies.controller.comparison.json_value import json_value
from studies.controller.comparison.recovery import measure_recovery
from studies.controller.comparison.setting import Setting
from studies.controller.comparison.study import Row, write_rows
from studies.controller.comparison.summary import BudgetFigures, Figures, summarise_budgets
from studies.controller.comparison.text import (
    format_aims,
    format_budget,
    format_fixed,
    format_recovery,
    format_setting,
)


def write_report(
    out: Path,
    rows: Sequence[Row],
    figures: Sequence[Figures],
    settings: Sequence[Setting],
    contenders: Sequence[Contender],
    codecs: Mapping[str, CodecFigures],
    command: str,
) -> Path:
    """Write everything but the plots; gives report.md.

    Args:
        out: A folder, made if it is not there.
        rows, figures: Of the study.
        settings, contenders, codecs: That it was made of.
        command: That made it, for the record.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_rows(rows, out / "rows.jsonl")
    budgets = _budgets(rows, settings)
    recoveries = [
        recovery
        for setting in settings
        for recovery in measure_recovery(
            setting, [c for c in contenders if c.point is None], codecs
        )
    ]
    tables = {
        "figures": [asdict(f) for f in figures],
        "budgets": [asdict(b) for b in budgets],
        "recoveries": [asdict(r) for r in recoveries],
        "command": command,
    }
    (out / "figures.json").write_text(json.dumps(json_value(tables), indent=1) + "\n")
    parts = [
        "# The controller and its rivals on links",
        f"```sh\n{command}\n```",
        "## Aims",
        format_aims(figures, budgets),
        "## All figures",
        *(format_setting(figures, setting.name, str(setting)) for setting in settings),
        "## After a step of the link",
        format_recovery(recoveries),
    ]
    if budgets:
        parts += ["## The byte budget", format_budget(budgets)]
    if any(c.point is not None for c in contenders):
        parts += ["## Every fixed point, all links", format_fixed(figures)]
    path = out / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _budgets(rows: Sequence[Row], settings: Sequence[Setting]) -> list[BudgetFigures]:
    """Of the first setting with a budget of which there is one without it, too, if any."""
    for kept in settings:
        for free in settings:
            if kept.budget is not None and free == replace(kept, name=free.name, budget=None):
                rate = kept.budget.bytes_per_second
                return summarise_budgets(rows, free.name, kept.name, rate)
    return []
