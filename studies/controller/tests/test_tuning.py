"""Constants are chosen by climbing, and never on links that judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slimlinks.errors import TraceError
from slimlinks.trace import constant_trace
from studies.controller.comparison.codec_figures import MODEL
from studies.controller.comparison.contender import find_contenders
from studies.controller.comparison.setting import SETTING_A
from studies.controller.comparison.tuning import GRIDS, choose_links, climb, tune
from studies.controller.simulation.recordings import is_for_tuning
from studies.controller.tests.codec_in_numbers import make_figures

LINKS = tuple(
    replace(constant_trace(30_000.0 + 1000 * n), name=f"{n}.txt", family=f"family {n % 2}")
    for n in range(40)
)


def test_climbing_finds_the_top_of_a_hill() -> None:
    grid = {"x": (0, 1, 2, 3, 4), "y": (0, 1, 2, 3, 4)}

    found = climb(grid, lambda c: -((c["x"] - 3) ** 2) - (c["y"] - 2) ** 2)

    assert found == ({"x": 3, "y": 2}, 0)


def test_ties_keep_what_the_paper_says() -> None:
    assert climb({"x": (5, 1, 2)}, lambda constants: 1.0).constants == {"x": 5}


def test_links_for_tuning_are_chosen_from_every_family() -> None:
    chosen = choose_links(LINKS, 3)

    assert all(is_for_tuning(link.name) for link in chosen)
    assert [link.family for link in chosen] == ["family 0"] * 3 + ["family 1"] * 3


def test_links_that_judge_are_refused() -> None:
    model = make_figures()
    judge = next(link for link in LINKS if not is_for_tuning(link.name))

    with pytest.raises(TraceError, match="for reporting"):
        tune(find_contenders(model.points)["bola"], SETTING_A, [judge], {MODEL: model})


def test_a_fixed_camera_on_a_slow_link_is_given_a_window() -> None:
    model = make_figures()
    setting = replace(SETTING_A, seconds=20.0)
    link = replace(next(k for k in LINKS if is_for_tuning(k.name)))

    found = tune(find_contenders(model.points)["fixed-0-3"], setting, [link], {MODEL: model})

    assert found.constants["window_frames"] in GRIDS["fixed"]["window_frames"][1:]
    assert found.score > 0.1
