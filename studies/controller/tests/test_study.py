"""A study in little: rows, figures, tables; the same for one process and for two."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from slimlinks.trace import constant_trace
from studies.controller.bound.known_bounds import KnownBounds
from studies.controller.comparison.codec_figures import MODEL, CodecFigures, classic_figures
from studies.controller.comparison.contender import (
    CONTROLLER,
    Contender,
    find_contenders,
    fixed_name,
    tuned,
)
from studies.controller.comparison.report import write_report
from studies.controller.comparison.setting import SETTING_A, SETTING_C, Setting, make_world
from studies.controller.comparison.study import Row, run_study
from studies.controller.comparison.summary import (
    ALL,
    BEST_AFTER,
    latency_quantile,
    summarise_budgets,
    summarise_rows,
)
from studies.controller.errors import BoundsError, WorldError
from studies.controller.tests.codec_in_numbers import make_figures

SETTING = replace(SETTING_A, seconds=10.0)
LINKS = (
    replace(constant_trace(40_000.0), name="slow", family="made"),
    replace(constant_trace(200_000.0), name="fast", family="made"),
    replace(constant_trace(90_000.0), name="middling", family="other"),
)


@pytest.fixture(scope="module")
def codecs() -> dict[str, CodecFigures]:
    model = make_figures()
    return {MODEL: model, "jpeg": classic_figures("jpeg")}


@pytest.fixture(scope="module")
def contenders(codecs: dict[str, CodecFigures]) -> list[Contender]:
    known = find_contenders(codecs[MODEL].points)
    names = (CONTROLLER, "rate-based", "bola", "fixed-0-0", "fixed-3-5", "jpeg-controller")
    return [known[name] for name in names]


@pytest.fixture(scope="module")
def rows(codecs: dict[str, CodecFigures], contenders: list[Contender]) -> list[Row]:
    return run_study(LINKS, [SETTING], contenders, codecs, bounds=KnownBounds())


def test_every_contender_has_a_row_for_every_link(rows: list[Row]) -> None:
    assert len(rows) == 6 * len(LINKS)
    assert {row.trace for row in rows} == {"slow", "fast", "middling"}
    assert all(sum(row.latency_counts) <= row.outcome.sent_frames for row in rows)


def test_nobody_beats_the_bound_with_the_same_codec(rows: list[Row]) -> None:
    ours = [row for row in rows if not row.contender.startswith("jpeg")]

    assert all(row.outcome.in_deadline_accuracy <= row.bound for row in ours)
    assert all(0 < row.bound < 1 for row in ours)


def test_processes_change_nothing(
    rows: list[Row], codecs: dict[str, CodecFigures], contenders: list[Contender]
) -> None:
    again = run_study(LINKS, [SETTING], contenders, codecs, bounds=KnownBounds(), processes=2)

    assert again == rows


def test_figures_are_means_over_links(rows: list[Row]) -> None:
    figures = {(f.family, f.contender): f for f in summarise_rows(rows)}

    own = [row.outcome.in_deadline_accuracy for row in rows if row.contender == "bola"]
    leader = [row.outcome.in_deadline_accuracy for row in rows if row.contender == CONTROLLER]
    over_all = figures[ALL, "bola"]
    assert over_all.accuracy.value == pytest.approx(sum(own) / 3)
    assert over_all.lead is not None
    assert over_all.lead.value == pytest.approx((sum(leader) - sum(own)) / 3)
    assert figures[ALL, CONTROLLER].lead is None
    assert (figures["made", "bola"].links, figures["other", "bola"].links) == (2, 1)
    best = max(figures["other", name].accuracy.value for name in ("fixed-0-0", "fixed-3-5"))
    assert figures["other", BEST_AFTER].accuracy.value == best


def test_without_an_oracle_there_is_no_share(
    codecs: dict[str, CodecFigures], contenders: list[Contender]
) -> None:
    rows = run_study(LINKS[:1], [SETTING], contenders[:1], codecs)

    (figures, _) = summarise_rows(rows)
    assert math.isnan(figures.share.value)
    assert figures.accuracy.value > 0


def test_bounds_are_kept_in_their_file(codecs: dict[str, CodecFigures], tmp_path: Path) -> None:
    path = tmp_path / "bounds.json"
    world = make_world(SETTING, LINKS[0], codecs[MODEL])
    KnownBounds(path).keep(world, 0.5)

    again = KnownBounds(path)

    assert again.find(world) == 0.5
    assert again.find(replace(world, fps=5.0)) is None


@pytest.mark.parametrize("text", ['{"a": 0.5', "[0.5]", '{"a": "much"}'])
def test_a_damaged_file_of_bounds_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bounds.json"
    path.write_text(text)

    with pytest.raises(BoundsError, match="bounds.json .*remove it"):
        KnownBounds(path)


def test_latency_quantiles_are_read_off_the_bins() -> None:
    counts = [0, 50, 0, 49, 1]

    assert latency_quantile(counts, 0.5) == pytest.approx(0.04)
    assert latency_quantile(counts, 0.95) == pytest.approx(0.08)
    assert latency_quantile(counts, 1.0) == pytest.approx(0.10)
    assert math.isnan(latency_quantile([0, 0], 0.5))


def test_a_budget_is_judged_where_it_binds(
    codecs: dict[str, CodecFigures], contenders: list[Contender]
) -> None:
    metered = replace(SETTING_C, seconds=10.0)
    rows = run_study(LINKS, [SETTING, metered], contenders[:1], codecs)

    (kept,) = summarise_budgets(rows, "a", "c", 60_000.0)

    free = [row.outcome.bytes_per_second for row in rows if row.setting == "a"]
    assert kept.binding_links == sum(rate > 63_000 for rate in free) > 0
    assert kept.highest_share == max(
        row.outcome.bytes_per_second / 60_000 for row in rows if row.setting == "c"
    )


def test_a_report_holds_every_contender_and_valid_json(
    rows: list[Row], codecs: dict[str, CodecFigures], contenders: list[Contender], tmp_path: Path
) -> None:
    path = write_report(
        tmp_path,
        rows,
        summarise_rows(rows),
        [SETTING],
        contenders,
        codecs,
        "python -m studies.controller simulate",
    )

    text = path.read_text()
    assert all(contender.name in text for contender in contenders)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == len(rows)
    assert (
        json.loads((tmp_path / "figures.json").read_text())["command"]
        == "python -m studies.controller simulate"
    )


def test_a_budget_that_nobody_can_say_binds_is_not_judged(
    codecs: dict[str, CodecFigures], contenders: list[Contender], tmp_path: Path
) -> None:
    metered = replace(SETTING_C, seconds=10.0)

    def report(settings: list[Setting], out: Path) -> str:
        rows = run_study(LINKS, settings, contenders[:1], codecs)
        figures = summarise_rows(rows)
        return write_report(out, rows, figures, settings, contenders[:1], codecs, "-").read_text()

    assert "Byte budget: error" in report([SETTING, metered], tmp_path / "both")
    assert "Byte budget" not in report([metered], tmp_path / "alone")


def test_plots_that_are_told_are_drawn_and_without_bounds_no_shares(
    codecs: dict[str, CodecFigures], contenders: list[Contender], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    from studies.controller.comparison.plots import write_plots

    rows = run_study(LINKS, [SETTING], contenders[:1], codecs)

    drawn = write_plots(tmp_path, rows, summarise_rows(rows), [SETTING], LINKS, codecs)

    assert [path.name for path in drawn] == ["latencies-a.png", "timeline.png"]
    assert set(drawn) == set(tmp_path.iterdir())


def test_a_fixed_contender_of_a_point_that_is_not_there_is_refused(
    codecs: dict[str, CodecFigures],
) -> None:
    world = make_world(SETTING, LINKS[0], codecs[MODEL])
    contender = Contender(fixed_name(7, 0), MODEL, "fixed", (7, 0.0))

    with pytest.raises(WorldError, match="no such point"):
        contender.build(world, "a")


def test_every_tuned_constant_is_one_that_its_baseline_takes(
    codecs: dict[str, CodecFigures],
) -> None:
    model = codecs[MODEL]
    known = find_contenders(model.points)
    for setting in ("a", "b", "c"):
        world = make_world(SETTING, LINKS[0], model)
        for contender in known.values():
            if contender.codec == MODEL:
                contender.build(world, setting)
        assert set(tuned(setting)) - {"best-fixed"} <= set(known)
