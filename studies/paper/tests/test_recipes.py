"""Every recipe of the paper and of the comparison builds a model that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slimtrain.recipe.schema import load_recipe
from studies.paper.cost import count_codec
from studies.paper.recipe import PaperRecipe, build_codec
from support.models.recipe_graphs import run_graphs

FOLDER = Path(__file__).resolve().parents[1]
PAPER = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OURS = sorted(f"ours/{path.stem}" for path in FOLDER.glob("ours/*.yaml"))
COMPARED = sorted(f"compare/{path.stem}" for path in FOLDER.glob("compare/*.yaml"))
# RESEARCH of the paper's code, kMAC per pixel: convolutions and GDN of g_a, and h_a
PAPER_G_A = {192: 91.3, 128: 41.4, 96: 23.7}
PAPER_H_A = {192: 2.42, 128: 1.08}


def recipe_of(name: str) -> PaperRecipe:
    return load_recipe(str(FOLDER / f"{name}.yaml"), PaperRecipe)


def test_all_are_here() -> None:
    assert (len(PAPER), len(COMPARED), len(OURS)) == (9, 11, 2)


@pytest.mark.parametrize("name", [*PAPER, *COMPARED, *OURS])
def test_a_recipes_graphs_run_at_every_level(name: str) -> None:
    run_graphs(recipe_of(name), build_codec)


@pytest.mark.parametrize("name", PAPER)
def test_graphs_of_the_papers_size_cost_what_the_paper_does(name: str) -> None:
    recipe = recipe_of(name)
    assert recipe.codec is not None
    full_encoder = "lss" in name  # its narrow latent comes from a full encoder

    cost = count_codec(build_codec(replace(recipe.codec, feature_channels=256)))

    for (*_, hidden, M), g_a, h_a in zip(recipe.codec.channels, cost.g_a, cost.h_a, strict=True):
        if not (full_encoder and hidden > M):
            assert g_a == pytest.approx(PAPER_G_A[M], abs=0.05)
        if recipe.codec.prior == "hyperprior":
            assert h_a == pytest.approx(PAPER_H_A[M], abs=0.01)


def test_the_papers_two_task_network_is_its_slimmable_one() -> None:
    two, slimmable = recipe_of("two-task"), recipe_of("s-bfm")

    assert two.model_copy(update={"about": slimmable.about}) == slimmable


def test_recipes_of_one_comparison_differ_only_in_the_model() -> None:
    rows = [recipe_of(name) for name in COMPARED]

    assert len({row.schedule for row in rows}) == 1
    assert len({row.detector for row in rows}) == 1
    configs = [row.codec for row in rows if row.codec is not None]
    assert len({(c.qualities, c.feature_width, c.synthesis_widths) for c in configs}) == 1
    assert len({config.block_transform for config in configs}) == 1
    assert {config.channels[-1] for config in configs} == {(24, 48, 72, 96)}
