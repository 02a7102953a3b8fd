"""The study's rows -> figures for each setting, family of links and contender, with intervals.

    Row, Row, ... ─► Figures(setting, family, contender)     family "all": every link counts once

Two contenders are made here out of the fixed ones: `fixed, chosen before` is the one that was best
on the links for tuning; `fixed, best after` is the one that was best on the very links of the row,
which nobody can know beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from studies.controller.comparison.bootstrap import Estimate, estimate_mean, estimate_ratio
from studies.controller.comparison.contender import CONTROLLER, FIXED, tuned
from studies.controller.comparison.study import LATENCY_STEP, Row

ALL = "all"
CHOSEN_BEFORE = "fixed, chosen before"
BEST_AFTER = "fixed, best after"
_NEEDED = 1.05  # times the budget that the controller sends without one: the budget binds


@dataclass(frozen=True)
class Figures:
    """One contender on the links of one family, in one setting."""

    setting: str
    family: str  # or `ALL`
    contender: str
    links: int
    accuracy: Estimate  # mean in-deadline accuracy
    share: Estimate  # of the upper bound with the model's codec, over links with a known one
    regret: float  # mean of that bound less the accuracy
    lead: Estimate | None  # controller's accuracy less this one's, paired; None: of itself
    late_share: float  # of all sent frames
    skipped_share: float  # of all captured frames
    latencies: tuple[float, float, float]  # p50, p95, p99 of all results, seconds, to 0.02 s
    bytes_per_second: float  # mean
    switches_per_minute: float  # mean


def summarise_rows(rows: Sequence[Row]) -> list[Figures]:
    """Give the figures of every setting, family and contender, in the rows' order."""
    found: list[Figures] = []
    for setting in _unique(row.setting for row in rows):
        of_setting = [row for row in rows if row.setting == setting]
        families = [*sorted({row.family for row in of_setting}), ALL]
        for family in families:
            some = [row for row in of_setting if family in (ALL, row.family)]
            some = _with_fixed(some, setting)
            leader = [row for row in some if row.contender == CONTROLLER]
            for contender in _unique(row.contender for row in some):
                own = [row for row in some if row.contender == contender]
                found.append(_figures(setting, family, contender, own, leader))
    return found


def latency_quantile(counts: Sequence[int], share: float) -> float:
    """Seconds that so great a share of the results took at most, from bins; NaN without any."""
    total = sum(counts)
    if total == 0:
        return math.nan
    index = int(np.searchsorted(np.cumsum(counts), share * total))
    return (index + 1) * LATENCY_STEP


@dataclass(frozen=True)
class BudgetFigures:
    """How a contender kept a budget of bytes."""

    contender: str
    links: int
    used_share: float  # of the budget, over all links
    highest_share: float  # of the budget on any link
    binding_links: int  # where the controller would send more without a budget
    binding_error: float  # mean of |bytes - budget| / budget on those
    worst_binding_error: float


def summarise_budgets(
    rows: Sequence[Row], free: str, kept: str, budget_bytes_per_second: float
) -> list[BudgetFigures]:
    """Give how the contenders of setting `kept` keep its budget; `free` is the same without one."""
    needed = _NEEDED * budget_bytes_per_second
    binding = {
        (row.family, row.trace)
        for row in rows
        if (row.setting, row.contender) == (free, CONTROLLER)
        and row.outcome.bytes_per_second > needed
    }
    found = []
    of_setting = [row for row in rows if row.setting == kept]
    for contender in _unique(row.contender for row in of_setting):
        used = {
            (row.family, row.trace): row.outcome.bytes_per_second / budget_bytes_per_second
            for row in of_setting
            if row.contender == contender
        }
        errors = [abs(share - 1) for link, share in used.items() if link in binding]
        found.append(
            BudgetFigures(
                contender,
                len(used),
                float(np.mean(list(used.values()))),
                max(used.values()),
                len(errors),
                float(np.mean(errors)) if errors else math.nan,
                max(errors, default=math.nan),
            )
        )
    return found


def _figures(
    setting: str, family: str, contender: str, own: list[Row], leader: list[Row]
) -> Figures:
    accuracy = [row.outcome.in_deadline_accuracy for row in own]
    known = [row for row in own if not math.isnan(row.bound)]
    reached, bounds = [r.outcome.in_deadline_accuracy for r in known], [r.bound for r in known]
    lead = None
    if leader and contender != CONTROLLER:
        theirs = {(row.family, row.trace): row.outcome.in_deadline_accuracy for row in leader}
        lead = estimate_mean(
            [theirs[row.family, row.trace] - row.outcome.in_deadline_accuracy for row in own]
        )
    sent = sum(row.outcome.sent_frames for row in own)
    captured = sum(row.outcome.captured_frames for row in own)
    counts = np.sum([row.latency_counts for row in own], axis=0).tolist()
    p50, p95, p99 = (latency_quantile(counts, share) for share in (0.5, 0.95, 0.99))
    return Figures(
        setting,
        family,
        contender,
        len(own),
        estimate_mean(accuracy),
        estimate_ratio(reached, bounds),
        float(np.mean(np.subtract(bounds, reached))) if known else math.nan,
        lead,
        sum(row.outcome.late_share * row.outcome.sent_frames for row in own) / max(1, sent),
        1 - sent / captured,
        (p50, p95, p99),
        float(np.mean([row.outcome.bytes_per_second for row in own])),
        float(np.mean([row.outcome.switches_per_minute for row in own])),
    )


def _with_fixed(rows: Sequence[Row], setting: str) -> list[Row]:
    """The rows, and those of the two contenders that are made of the fixed ones."""
    fixed = [row for row in rows if row.contender.startswith(FIXED)]
    totals: dict[str, float] = {}
    for row in fixed:
        totals[row.contender] = totals.get(row.contender, 0.0) + row.outcome.in_deadline_accuracy
    extra: list[Row] = []
    before = tuned(setting).get("best-fixed", {}).get("name")
    after = max(totals, key=lambda name: totals[name], default=None)
    for name, chosen in ((CHOSEN_BEFORE, before), (BEST_AFTER, after)):
        extra += [replace(row, contender=name) for row in fixed if row.contender == chosen]
    return [*rows, *extra]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
