"""CompressAI's models beside ours: real bytes, from checkpoints, with no network."""

from __future__ import annotations

import urllib.error
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slimcodec.pixels import psnr_db
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.evaluation.rival import open_rivals
from support.models.toy_artifact import make_image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    zoo = pytest.importorskip("compressai.zoo")

FACTORIZED, HYPERPRIOR = "bmshj2018-factorized", "bmshj2018-hyperprior"


def make_net(model: str, seed: int = 0) -> Any:
    """One with random weights, small, whose entropy tables are made."""
    torch.manual_seed(seed)
    net = zoo.image.model_architectures[model](8, 12)
    net.update()
    return net.eval()


def save(net: nn.Module, path: Path) -> Path:
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize(("model", "strings"), [(FACTORIZED, 1), (HYPERPRIOR, 2)])
def test_bytes_are_those_of_a_file_that_decodes_by_itself(
    model: str, strings: int, tmp_path: Path
) -> None:
    net = make_net(model)
    image = make_image(90, 130)
    padded = np.zeros((128, 192, 3), np.uint8)
    padded[19:109, 31:161] = image
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    path = save(net, tmp_path / "a.pth")

    (rival,) = open_rivals([f"compressai:{model}:3={path}"])
    coded = rival.code(image, 3)

    with torch.inference_mode():
        theirs = net.compress(x)
        x_hat = net.decompress(theirs["strings"], theirs["shape"])["x_hat"]
    assert (rival.name, rival.ladder) == (model, (3,))
    assert len(theirs["strings"]) == strings
    assert len(coded.bitstream) == 10 + sum(4 + len(s) for (s,) in theirs["strings"])
    expected = (255 * x_hat[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    assert coded.image_hat.shape == image.shape
    assert psnr_db(coded.image_hat, expected[19:109, 31:161]) == 100.0


def test_checkpoint_of_a_training_without_tables_serves_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bare = zoo.image.model_architectures[FACTORIZED](8, 12)
    torch.save({"epoch": 3, "state_dict": bare.state_dict()}, tmp_path / "checkpoint.pth.tar")

    (rival,) = open_rivals([f"compressai:{FACTORIZED}={tmp_path / 'checkpoint.pth.tar'}"])

    coded = rival.code(make_image(64, 64), 0)
    assert coded.image_hat.shape == (64, 64, 3)


def test_files_of_one_model_are_one_codec_of_several_qualities(tmp_path: Path) -> None:
    files = [save(make_net(FACTORIZED, seed), tmp_path / f"{seed}.pth") for seed in (1, 2)]
    names = [f"compressai:{FACTORIZED}:{3 - i}={f}" for i, f in enumerate(files)]

    (rival,) = open_rivals(names)

    assert rival.ladder == (2, 3)
    coarse, fine = (rival.code(make_image(64, 64), quality).image_hat for quality in (2, 3))
    assert not np.array_equal(coarse, fine)
    with pytest.raises(EvaluationError, match="quality 3 twice"):
        open_rivals([names[0], names[0]])


def test_setting_tells_weights_apart(tmp_path: Path) -> None:
    def setting_of(seed: int) -> str:
        path = save(make_net(FACTORIZED, seed), tmp_path / "x")
        return open_rivals([f"compressai:{FACTORIZED}:1={path}"])[0].setting

    settings = {setting_of(seed) for seed in (1, 2, 1)}

    assert len(settings) == 2


def test_zoo_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(zoo.image, "load_state_dict_from_url", refuse)

    with pytest.raises(EvaluationError) as info:
        open_rivals([f"compressai:{FACTORIZED}:3"])

    message = str(info.value)
    assert "bmshj2018-factorized-prior-3-5c6f152b.pth.tar" in message
    assert f"--rival compressai:{FACTORIZED}:3=FILE" in message


def test_no_quality_is_every_quality_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def load(quality: int, metric: str, pretrained: bool) -> nn.Module:
        asked.append(quality)
        return nn.Identity()

    monkeypatch.setitem(zoo.image_models, "cheng2020-attn", load)

    (rival,) = open_rivals(["compressai:cheng2020-attn"])

    assert asked == list(rival.ladder) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bmshj2018-factorized", "expected compressai:MODEL"),
        ("compressai:bmshj2018-factorized:best", "expected compressai:MODEL"),
        ("compressai:elic", "no model 'elic'; there is bmshj2018-factorized, "),
        ("compressai:bmshj2018-factorized:9", "qualities 1 to 8 .* =FILE"),
    ],
)
def test_wrong_name_is_refused_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        open_rivals([text])


def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    other = save(make_net(HYPERPRIOR), tmp_path / "hyper.pth")
    (tmp_path / "text").write_text("nothing")

    for path in (other, tmp_path / "text"):
        with pytest.raises(EvaluationError, match="no checkpoint of bmshj2018-factorized"):
            open_rivals([f"compressai:{FACTORIZED}:1={path}"])
