"""Every recipe that came along builds a model that runs; a wrong one is refused with its path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from slimnets.codec.config import CodecConfig
from slimtrain.codec.train import CodecRun
from slimtrain.recipe.find import RecipeError, describe_recipes, find_recipe, recipe_names
from slimtrain.recipe.schema import (
    CodecRecipe,
    DetectorRecipe,
    TailRecipe,
    TriageRecipe,
    build_codec_run,
    load_recipe,
)
from support.models.recipe_graphs import graph_of, run_graphs

KINDS: dict[str, type[CodecRecipe | DetectorRecipe | TriageRecipe | TailRecipe]] = {
    "codec": CodecRecipe,
    "detector": DetectorRecipe,
    "triage": TriageRecipe,
    "tail": TailRecipe,
}


def kind_of(name: str) -> str:
    return str(yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))["kind"])


CODECS = [name for name in recipe_names() if kind_of(name) == "codec"]
SHAPED = [name for name in CODECS if load_recipe(name, CodecRecipe).codec is not None]


def write(folder: Path, text: str) -> str:
    path = folder / "a.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(name, KINDS[kind_of(name)])

    assert recipe.about


@pytest.mark.parametrize("name", SHAPED)
def test_a_recipes_graphs_run_at_every_level(name: str) -> None:
    run_graphs(load_recipe(name, CodecRecipe))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kind: codec\nloss: {machine_levls: [1]}", "loss.machine_levls: Unexpected"),
        ("kind: codec\nschedule: {stps: 3}", "schedule.stps: Unexpected"),
        ("kind: codec\nschedule: {batch: many}", "schedule.batch: Input should be"),
        ("kind: codec\ncodec: {feature_channels: 3}", "codec: .*the detector's; remove it"),
        ("kind: codec\ncodec: {stem: x}", "codec: .*say feature_transform: stem"),
        ("kind: codec\ncodec: {channels: [[1, 2, 3, 4], [1, 2, 3, 3]]}", "codec: .*must grow"),
        ("kind: codec\ncodec: {channels: [[1, 2, 3, 4]]}", "4 weights .* 1 levels"),
        ("kind: detector", "kind: Input should be 'codec'"),
        ("kind: [", "is no YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_path_of_the_key(
    tmp_path: Path, text: str, path: str
) -> None:
    with pytest.raises(RecipeError, match=r"a\.yaml: " + path if "levels" not in path else path):
        load_recipe(write(tmp_path, text), CodecRecipe)


def test_a_recipe_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match="one of: .*slim"):
        load_recipe("slimm", CodecRecipe)


def test_defaults_are_the_trainers_own(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "kind: codec"), CodecRecipe)

    run = build_codec_run(recipe, *graph_of(recipe.detector), tmp_path)

    expected = CodecRun(tmp_path, 29, replace(CodecConfig(), feature_channels=16))
    assert run == expected


def test_given_options_go_before_the_schedule(tmp_path: Path) -> None:
    text = "kind: codec\nschedule: {steps: 7, batch: 3}"

    recipe = load_recipe(write(tmp_path, text), CodecRecipe)
    detector = graph_of(recipe.detector)

    run = build_codec_run(recipe, *detector, tmp_path, steps=9, batch=None)

    assert (run.steps, run.batch) == (9, 3)


def test_every_recipe_says_what_it_is() -> None:
    assert {name for name, _ in describe_recipes()} == set(recipe_names())
