"""The study's tables, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studies.controller.comparison.bootstrap import Estimate
from studies.controller.comparison.contender import CONTROLLER, FIXED, LADDERS
from studies.controller.comparison.recovery import Recovery
from studies.controller.comparison.summary import ALL, BEST_AFTER, BudgetFigures, Figures

NOTHING = "-"
_LATE_AIM = 0.01
_SHARE_AIM = 0.95
_BUDGET_AIM = 0.015


def format_setting(figures: Sequence[Figures], setting: str, about: str) -> str:
    """One setting: over all links, then each family; single fixed points are left out."""
    own = [f for f in figures if f.setting == setting and not _is_single_fixed(f)]
    families = [ALL, *dict.fromkeys(f.family for f in own if f.family != ALL)]
    parts = [f"### Setting {setting}: {about}"]
    for family in families:
        some = [f for f in own if f.family == family]
        if some:
            title = "all families" if family == ALL else family
            parts += [f"**{title}**, {some[0].links} links", _table(some)]
    return "\n\n".join(parts)


def format_fixed(figures: Sequence[Figures]) -> str:
    """Every fixed point's accuracy over all links, in each setting."""
    own = [f for f in figures if f.family == ALL and _is_single_fixed(f)]
    settings = list(dict.fromkeys(f.setting for f in own))
    names = list(dict.fromkeys(f.contender for f in own))
    found = {(f.setting, f.contender): f for f in own}
    rows = []
    for name in names:
        cells = [name]
        for setting in settings:
            figure = found.get((setting, name))
            cells.append(
                NOTHING
                if figure is None
                else f"{figure.accuracy.value:.3f}, {_percent(figure.late_share)} late"
            )
        rows.append(cells)
    return _markdown(["fixed point", *(f"setting {s}" for s in settings)], rows)


def format_budget(figures: Sequence[BudgetFigures]) -> str:
    """How the byte budget was kept."""
    header = [
        "contender",
        "used of the budget, mean",
        "most on any link",
        "error where it binds, mean",
        "worst",
    ]
    rows = [
        [
            f.contender,
            _percent(f.used_share),
            _percent(f.highest_share),
            f"{_percent(f.binding_error)} ({f.binding_links} links)",
            _percent(f.worst_binding_error),
        ]
        for f in figures
        if not _is_single_fixed(f)
    ]
    return _markdown(header, rows)


def format_recovery(recoveries: Sequence[Recovery]) -> str:
    """Seconds after each step."""
    header = ["setting", "contender", "after 4 -> 0.5 Mbit/s", "after 0.5 -> 4", "accuracy", "late"]
    rows = [
        [
            r.setting,
            r.contender,
            _seconds(r.down_seconds),
            _seconds(r.up_seconds),
            f"{r.accuracy:.3f}",
            _percent(r.late_share),
        ]
        for r in recoveries
    ]
    return _markdown(header, rows)


def format_aims(figures: Sequence[Figures], budgets: Sequence[BudgetFigures]) -> str:
    """Which aims the controller reaches, family by family."""
    header = [
        "setting",
        "family",
        f"of the bound (aim {_SHARE_AIM})",
        f"late (aim {_LATE_AIM:.0%} at most)",
        "best other policy with the same codec",
        "controller's lead over it",
    ]
    rows = []
    for own in (f for f in figures if f.contender == CONTROLLER):
        others = [
            f
            for f in figures
            if (f.setting, f.family) == (own.setting, own.family)
            and f.lead is not None
            and f.contender != BEST_AFTER
            and not _is_single_fixed(f)
            and not f.contender.startswith(LADDERS)
        ]
        best = max(others, key=lambda f: f.accuracy.value, default=None)
        rows.append(
            [
                own.setting,
                own.family,
                f"{_estimate(own.share)}{_mark(own.share.value >= _SHARE_AIM)}",
                f"{_percent(own.late_share)}{_mark(own.late_share <= _LATE_AIM)}",
                NOTHING if best is None else f"{best.contender} {best.accuracy.value:.4f}",
                NOTHING if best is None else _lead(best),
            ]
        )
    text = _markdown(header, rows)
    for budget in budgets:
        if budget.contender == CONTROLLER and budget.binding_links:
            reached = _mark(budget.binding_error <= _BUDGET_AIM)
            text += (
                f"\n\nByte budget: error {_percent(budget.binding_error)}{reached} on the "
                f"{budget.binding_links} links where it binds (aim {_percent(_BUDGET_AIM)}), worst "
                f"{_percent(budget.worst_binding_error)}."
            )
    return text


def _table(figures: Sequence[Figures]) -> str:
    header = [
        "contender",
        "accuracy in the deadline",
        "of the model's bound",
        "controller's lead",
        "late",
        "skipped",
        "p50, p95, p99, s",
        "kB/s",
        "switches a minute",
    ]
    rows = [
        [
            f.contender,
            _estimate(f.accuracy),
            NOTHING if math.isnan(f.share.value) else f"{f.share.value:.3f}",
            _lead(f),
            _percent(f.late_share),
            _percent(f.skipped_share),
            ", ".join(f"{seconds:.2f}" for seconds in f.latencies),
            f"{f.bytes_per_second / 1000:.0f}",
            f"{f.switches_per_minute:.0f}",
        ]
        for f in figures
    ]
    return _markdown(header, rows)


def _is_single_fixed(figures: Figures | BudgetFigures) -> bool:
    return figures.contender.startswith(FIXED)


def _lead(figures: Figures) -> str:
    if figures.lead is None:
        return NOTHING
    lead = figures.lead
    star = " *" if lead.low > 0 or lead.high < 0 else ""
    return f"{lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f}){star}"


def _estimate(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return NOTHING
    return f"{estimate.value:.4f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _mark(reached: bool) -> str:
    return "" if reached else " **no**"


def _percent(share: float) -> str:
    return NOTHING if math.isnan(share) else f"{100 * share:.2f} %"


def _seconds(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{seconds:.1f} s"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
