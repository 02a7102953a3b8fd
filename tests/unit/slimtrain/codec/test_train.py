"""The codec's trainer: it learns, and resumes exactly after a kill."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.codec.stem_transform import StemFeatureTransform, stem_cfg
from slimnets.darknet.cfg import parse_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.codec.artifact import codec_from_checkpoint
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.start import begin_stem, begin_with, fit_prior, freeze_levels
from slimtrain.codec.train import CodecRun, train_codec
from slimtrain.data.crops import CropSampler
from slimtrain.loop.processes import LoopError
from support.broken_runs import check_killed_run_ends_like_a_whole_one

CONFIG = CodecConfig(
    channels=((2, 2, 4, 4), (4, 4, 6, 8)),
    qualities=4,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
)
WEIGHTS = LossWeights(machine_levels=(1.0, 0.6), view_levels=(0.15, 1.0))
_CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
)
CFG = (
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    + _CONV.format(4, 2)
    + _CONV.format(4, 2)
    + _CONV.format(8, 2)  # layer 2: the split
    + _CONV.format(8, 2)
    + _CONV.format(8, 2)
    + "[convolutional]\nfilters=21\nsize=1\nstride=1\npad=1\nactivation=linear\n"
    + "[yolo]\nmask=0,1,2\nanchors=8,10,12,23,25,18\nclasses=2\nnum=3\n"
)


def make_detector() -> Darknet:
    torch.manual_seed(11)
    return Darknet(parse_cfg(CFG))


def make_pictures(count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Smooth coloured blobs: something that a codec can learn."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 7, 3), dtype=np.uint8)
    return [np.repeat(np.repeat(picture, 12, 0), 12, 1) for picture in small]


def run_to(out: Path, steps: int, seconds: float | None = None) -> CodecRun:
    return CodecRun(out, 2, CONFIG, WEIGHTS, steps=steps, seconds=seconds, batch=4, crop=64, seed=3)


def rows(out: Path, name: str = "log.csv") -> list[dict[str, str]]:
    with (out / name).open() as file:
        return list(csv.DictReader(file))


def train(run: CodecRun) -> Path:
    return train_codec(run, make_detector(), make_pictures(6, 0), make_pictures(4, 1))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # such small nets lose time on a second one
    yield
    torch.set_num_threads(before)


def test_training_lowers_the_loss_and_writes_what_it_reached(tmp_path: Path) -> None:
    train(run_to(tmp_path, 150))

    lost = [
        float(row["machine_0"]) for row in rows(tmp_path)
    ]  # the loss itself varies with the drawn qualities
    assert lost[-1] < 0.7 * lost[0]
    assert len(rows(tmp_path, "validation.csv")) == CONFIG.num_levels * CONFIG.qualities


def test_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    check_killed_run_ends_like_a_whole_one(lambda out: train(run_to(out, 9)), tmp_path)


def test_stopped_run_goes_on(tmp_path: Path) -> None:
    train(run_to(tmp_path, 4, seconds=1e-9))
    stopped = torch.load(tmp_path / "checkpoint.pt", weights_only=True)

    train(run_to(tmp_path, 4))

    assert stopped["step"] == 1
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4
    values = rows(tmp_path, "validation.csv")
    assert [row["step"] for row in values] == ["1"] * 8 + ["4"] * 8


def test_other_pictures_or_another_detector_are_refused(tmp_path: Path) -> None:
    train(run_to(tmp_path, 2))

    with pytest.raises(LoopError, match=r"pictures 6 \(\w+\) there, 5 \(\w+\) here"):
        train_codec(run_to(tmp_path, 4), make_detector(), make_pictures(5, 0), [])
    torch.manual_seed(12)
    with pytest.raises(LoopError, match="detector"):
        train_codec(run_to(tmp_path, 4), Darknet(parse_cfg(CFG)), make_pictures(6, 0), [])


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(run_to(tmp_path, 2))
    config = CodecConfig(channels=CONFIG.channels, qualities=2, feature_channels=8)
    other = CodecRun(tmp_path, 2, config, WEIGHTS, steps=4)

    with pytest.raises(LoopError, match="configuration"):
        train(other)


def test_detector_of_other_width_than_the_codec_expects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set feature_channels"):
        train(CodecRun(tmp_path, 2, CodecConfig(), steps=1))


def test_run_begins_with_the_weights_that_fit_and_names_the_others(tmp_path: Path) -> None:
    checkpoint = train(run_to(tmp_path / "first", 3))
    wider = CodecNet(replace(CONFIG, feature_channels=12))

    rest = begin_with(wider, checkpoint)

    average = torch.load(checkpoint, weights_only=True)["average"]["state"]
    assert rest == ["feature_transform.body.7.bias", "feature_transform.body.7.weight"]
    for name, value in wider.state_dict().items():
        assert name in rest or torch.equal(value, average[name])
    with pytest.raises(FileNotFoundError, match="nothing.pt"):
        begin_with(wider, tmp_path / "nothing.pt")


STEM_CONFIG = replace(
    CONFIG, block_transform=True, feature_transform="stem", stem=stem_cfg(make_detector(), 2)
)


def test_run_with_a_stem_begins_with_the_detectors_own_layers(tmp_path: Path) -> None:
    train(replace(run_to(tmp_path, 2), config=STEM_CONFIG, learning_rate=1e-9))

    stem = StemFeatureTransform(STEM_CONFIG)
    stem.take_stem(make_detector())
    average = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["average"]["state"]
    for name, value in stem.stem.state_dict().items():
        torch.testing.assert_close(average[f"feature_transform.stem.{name}"], value)


def test_another_detectors_stem_is_not_taken_over(tmp_path: Path) -> None:
    checkpoint = train(replace(run_to(tmp_path, 2), config=STEM_CONFIG))
    same, other = (
        CodecNet(STEM_CONFIG),
        CodecNet(replace(STEM_CONFIG, stem=stem_cfg(make_detector(), 1))),
    )

    assert begin_with(same, checkpoint) == []
    rest = begin_with(other, checkpoint)

    assert rest
    assert all(name.startswith("feature_transform.stem.") for name in rest)


def test_codec_without_a_stem_gives_its_linear_path_to_one_that_has(tmp_path: Path) -> None:
    config = replace(CONFIG, block_transform=True)
    checkpoint = train(replace(run_to(tmp_path / "latent", 2), config=config))
    codec, detector = CodecNet(STEM_CONFIG), make_detector()
    crops = CropSampler(make_pictures(12, 0), 64, torch.device("cpu"), seed=1)
    new = begin_with(codec, checkpoint)
    x = crops.batch(0, 8)
    y_hat, level = codec.prefix(codec.analyse(x, 1).detach(), torch.ones(8, dtype=torch.int64))

    begin_stem(codec, detector, crops, new)

    transform = codec.feature_transform
    assert isinstance(transform, StemFeatureTransform)
    with torch.no_grad():
        error = (transform.picture(y_hat, level) - x).square().mean()
    assert error < 0.9 * x.var(), "the picture is fitted, not only copied"


def test_fitted_prior_takes_fewer_bits_and_leaves_the_rest_alone() -> None:
    torch.manual_seed(2)
    codec = CodecNet(replace(CONFIG, block_transform=True))
    crops = CropSampler(make_pictures(12, 0), 64, torch.device("cpu"), seed=1)
    codec.start_from(crops.batch(0, 16))
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    x, quality = crops.batch(1, 16), torch.linspace(0, 3, 16)
    bits = codec.bits(x, quality).sum()

    fit_prior(codec, crops, 60)

    assert codec.bits(x, quality).sum() < 0.98 * bits
    changed = {n for n, v in codec.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all(name.startswith("prior.") for name in changed)


def test_levels_of_one_task_are_never_run_for_the_other(tmp_path: Path) -> None:
    weights = LossWeights(machine_levels=(1.0, 0.0), view_levels=(0.0, 1.0))
    run = CodecRun(tmp_path, 2, CONFIG, weights, steps=3, batch=4, crop=64)

    train(run)

    last = rows(tmp_path, "validation.csv")
    assert [row["machine"] == "" for row in last] == [row["level"] == "1" for row in last]
    assert [row["psnr_db"] == "" for row in last] == [row["level"] == "0" for row in last]


def test_frozen_level_sends_the_same_symbols_while_the_wider_one_learns(tmp_path: Path) -> None:
    config = replace(CONFIG, block_transform=True)
    first = train(CodecRun(tmp_path / "first", 2, config, WEIGHTS, steps=3, batch=4, crop=64))
    view = LossWeights(machine_levels=(0.0, 0.0), view_levels=(0.3, 1.0))
    options = {"batch": 4, "crop": 64, "start_from": first, "frozen_levels": 1}
    second = train(CodecRun(tmp_path / "second", 2, config, view, steps=5, **options))  # type: ignore[arg-type]  # of mixed types

    x = CropSampler(make_pictures(2, 9), 64, torch.device("cpu"), seed=1).batch(0, 2)
    before, after = (codec_from_checkpoint(path).codec for path in (first, second))
    quality = torch.tensor([0.0, 2.5])
    with torch.no_grad():
        y, new_y = before.analyse(x, 1), after.analyse(x, 1)
        gain, new_gain = (codec.gains(quality, 1)[0] for codec in (before, after))
    assert torch.equal(y[:, :4], new_y[:, :4])
    assert torch.equal(gain[:, :4], new_gain[:, :4])
    assert not torch.equal(y[:, 4:], new_y[:, 4:])
    assert not torch.equal(gain[:, 4:], new_gain[:, 4:])


def test_freezing_more_levels_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="the codec has 2 levels"):
        freeze_levels(CodecNet(CONFIG), 3)


def test_weights_that_do_not_match_the_levels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 weights .* 2 levels"):
        train(CodecRun(tmp_path, 2, CONFIG, steps=1))
    with pytest.raises(ValueError, match="nothing to train for"):
        LossWeights(machine_levels=(0.0,), view_levels=(0.0,))


def test_crops_depend_on_seed_and_step_and_small_pictures_are_extended() -> None:
    pictures = [*make_pictures(3, 5), np.full((10, 20, 3), 9, np.uint8)]
    sampler = CropSampler(pictures, 64, torch.device("cpu"), seed=1)

    assert torch.equal(sampler.batch(7, 8), sampler.batch(7, 8))
    assert not torch.equal(sampler.batch(7, 8), sampler.batch(8, 8))
    other = CropSampler(pictures, 64, torch.device("cpu"), seed=2)
    assert not torch.equal(sampler.batch(7, 8), other.batch(7, 8))
    tiny = CropSampler(pictures[3:], 64, torch.device("cpu"), seed=1).batch(0, 2)
    assert tiny.shape == (2, 3, 64, 64)
    assert (tiny == 9 / 255).all()


WORKER = """
import sys
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from pathlib import Path
from test_train import run_to, train
train(run_to(Path({out!r}), {steps}))
"""


def worker(out: Path, steps: int) -> list[str]:
    code = WORKER.format(path=[str(Path(__file__).parent), *sys.path], out=str(out), steps=steps)
    script = out.with_suffix(".py")
    script.write_text(code)
    return [str(script)]


def test_killed_run_leaves_a_whole_checkpoint_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(run_to(out, 20))  # an earlier checkpoint to lose
    process = subprocess.Popen([sys.executable, *worker(out, 100_000)], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and len(rows(out)) < 1:
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    state = torch.load(out / "checkpoint.pt", weights_only=True)

    assert state["step"] >= 20
    resumed = torch.load(train(run_to(out, state["step"] + 5)), weights_only=True)
    assert resumed["step"] == state["step"] + 5
