"""Every recipe that came along builds a model that runs; a wrong one is refused with its path."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import BaseModel

from slimcodec.model.artifact import find_model
from slimnets.codec.codec import Codec
from slimnets.codec.config import CodecConfig
from slimnets.darknet.detector import Darknet, parse_cfg, yolov3_cfg
from slimtrain.codec.train import CodecRun
from slimtrain.detector.train import DetectorRun
from slimtrain.recipe.cost import count_codec
from slimtrain.recipe.run import build_codec_run
from slimtrain.recipe.schema import (
    CodecRecipe,
    CodecSchedule,
    DetectorRecipe,
    DetectorSchedule,
    RecipeError,
    TailRecipe,
    TailSchedule,
    TriageRecipe,
    TriageSchedule,
    describe_recipes,
    find_recipe,
    load_recipe,
    recipe_names,
)
from slimtrain.tail.train import TailRun
from slimtrain.triage.train import TriageRun

KINDS: dict[str, type[CodecRecipe | DetectorRecipe | TriageRecipe | TailRecipe]] = {
    "codec": CodecRecipe,
    "detector": DetectorRecipe,
    "triage": TriageRecipe,
    "tail": TailRecipe,
}
# where the two detectors are cut, as graphs without trained weights
YOLOV3_LAYER, EMBEDDED_LAYER = 15, 12
EMBEDDED_CFG = find_model("detector", "yolov3-slim") / "detector.cfg"


def kind_of(name: str) -> str:
    return str(yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))["kind"])


CODECS = [name for name in recipe_names() if kind_of(name) == "codec"]
SHAPED = [name for name in CODECS if load_recipe(name, CodecRecipe).codec is not None]
PAPER_SIZE = [name for name in SHAPED if load_recipe(name, CodecRecipe).detector == "yolov3"]


@cache
def graph_of(detector: str) -> tuple[Darknet, int]:
    if detector == "yolov3":
        return Darknet(parse_cfg(yolov3_cfg())).eval(), YOLOV3_LAYER
    return Darknet(parse_cfg(EMBEDDED_CFG.read_text(encoding="utf-8"))).eval(), EMBEDDED_LAYER


def write(folder: Path, text: str) -> str:
    path = folder / "a.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(name, KINDS[kind_of(name)])

    assert recipe.about


@pytest.mark.parametrize(
    ("schedule", "run"),
    [
        (CodecSchedule, CodecRun),
        (DetectorSchedule, DetectorRun),
        (TriageSchedule, TriageRun),
        (TailSchedule, TailRun),
    ],
)
def test_a_schedule_has_only_settings_of_its_trainer(schedule: type[BaseModel], run: type) -> None:
    assert set(schedule.model_fields) <= {field.name for field in fields(run)}


@pytest.mark.parametrize("name", SHAPED)
def test_a_recipes_graphs_run_at_every_level(name: str) -> None:
    recipe = load_recipe(name, CodecRecipe)
    detector, layer = graph_of(recipe.detector)
    run = build_codec_run(recipe, detector, layer, Path("unused"))
    codec = Codec(run.config).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    for level, M in enumerate(run.config.latent_channels):
        at = torch.tensor([level])
        with torch.no_grad():
            y = codec.analyse(x, level)
            out = codec(x, torch.zeros(1), at, at)

        assert y.shape == (1, M, 4, 4)
        torch.testing.assert_close(codec.g_a.merge(level)(x), y, rtol=1e-4, atol=1e-4)
        assert out.f_hat.shape == (1, detector.split_point(layer).channels, 8, 8)
        assert out.x_hat.shape == (1, 3, 64, 64)


# RESEARCH of the paper's code, kMAC per pixel: convolutions and GDN of g_a, and h_a
PAPER_G_A = {192: 91.3, 128: 41.4, 96: 23.7}
PAPER_H_A = {192: 2.42, 128: 1.08}


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_graphs_of_the_papers_size_cost_what_the_paper_does(name: str) -> None:
    recipe = load_recipe(name, CodecRecipe)
    assert recipe.codec is not None
    full_encoder = "lss" in name  # its narrow latent comes from a full encoder

    cost = count_codec(Codec(replace(recipe.codec, feature_channels=256)))

    for (*_, hidden, M), g_a, h_a in zip(recipe.codec.channels, cost.g_a, cost.h_a, strict=True):
        if not (full_encoder and hidden > M):
            assert g_a == pytest.approx(PAPER_G_A[M], abs=0.05)
        if recipe.codec.prior == "hyperprior":
            assert h_a == pytest.approx(PAPER_H_A[M], abs=0.01)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kind: codec\nloss: {machine_levls: [1]}", "loss.machine_levls: Unexpected"),
        ("kind: codec\nschedule: {stps: 3}", "schedule.stps: Extra"),
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
    with pytest.raises(RecipeError, match="one of: .*slim-n"):
        load_recipe("slim-nn", CodecRecipe)


def test_defaults_are_the_trainers_own(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "kind: codec"), CodecRecipe)

    run = build_codec_run(recipe, *graph_of(recipe.detector), tmp_path)

    expected = CodecRun(tmp_path, 12, replace(CodecConfig(), feature_channels=128))
    assert run == expected


def test_given_options_go_before_the_schedule(tmp_path: Path) -> None:
    text = "kind: codec\nschedule: {steps: 7, batch: 3}"

    recipe = load_recipe(write(tmp_path, text), CodecRecipe)
    detector = graph_of(recipe.detector)

    run = build_codec_run(recipe, *detector, tmp_path, steps=9, batch=None)

    assert (run.steps, run.batch) == (9, 3)


def test_the_papers_two_task_network_is_its_slimmable_one() -> None:
    two, slimmable = (load_recipe(name, CodecRecipe) for name in ("two-task", "s-bfm"))

    assert two.model_copy(update={"about": slimmable.about}) == slimmable


def test_recipes_of_one_comparison_differ_only_in_the_model() -> None:
    rows = [load_recipe(name, CodecRecipe) for name in CODECS if name.startswith("compare/")]

    assert len({row.schedule.model_dump_json() for row in rows}) == 1
    assert len({row.detector for row in rows}) == 1
    configs = [row.codec for row in rows if row.codec is not None]
    assert len({(c.qualities, c.feature_width, c.synthesis_widths) for c in configs}) == 1
    assert len({config.block_transform for config in configs}) == 1
    assert {config.channels[-1] for config in configs} == {(24, 48, 72, 96)}


def test_every_recipe_says_what_it_is() -> None:
    assert {name for name, _ in describe_recipes()} == set(recipe_names())
