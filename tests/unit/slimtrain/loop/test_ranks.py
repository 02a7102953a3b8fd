"""All four trainers on two processes: what each has in its hands, and what both end with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import ModelReference
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimtrain.codec.artifact import write_codec_artifact
from slimtrain.codec.loss import LossWeights
from slimtrain.codec.train import CodecRun, train_codec
from slimtrain.data.pictures import LoadedPicture
from slimtrain.detector.artifact import write_detector_artifact
from slimtrain.detector.train import DetectorRun, train_detector
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes
from slimtrain.tail.train import TailRun, train_tail
from slimtrain.triage.train import TriageRun, train_triage
from support.broken_runs import log_of
from support.models.darknets import ALL_LAYERS_CFG, ALL_LAYERS_SPLIT, make_darknet
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

pytestmark = pytest.mark.slow

STEPS = 3
CONFIG = CodecConfig(
    channels=((2, 2, 4, 4), (4, 4, 6, 8)),
    qualities=4,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
)
WEIGHTS = LossWeights(machine_levels=(1.0, 0.6), view_levels=(0.15, 1.0))
WRITTEN = {
    "codec": "checkpoint.pt",
    "detector": "detector.weights",
    "tail": "validation.csv",
    "triage": "toy/2/triage.onnx",
}


def make_models(root: Path) -> None:
    """A codec and its detector, of torch for the tail and of plain graphs for triage."""
    write_detector_artifact(
        make_darknet(),
        ["hat", "dog", "cup"],
        ALL_LAYERS_SPLIT,
        root / "small-detector" / "1",
        training={},
        licence="none",
    )
    torch.manual_seed(5)
    write_codec_artifact(
        CodecNet(CONFIG).eval(),
        [make_image(64, 64, seed=i) for i in range(2)],
        root / "small" / "1",
        ModelReference(name="small-detector", version=1),
        training={"steps": 0},
        figures={},
        licence="none",
    )
    make_toy_codec(root)
    make_toy_detector(root)


def make_pictures(count: int, seed: int = 0) -> list[LoadedPicture]:
    """Every other one is grey, so that the toy detector sees nothing there."""
    box = np.array([[1, 0.5, 0.4, 0.3, 0.25, 1.0]], np.float32)
    grey = np.full((72, 96, 3), 120, np.uint8)
    return [
        LoadedPicture(
            make_image(72, 96, seed + i) if i % 2 else grey + np.uint8(i),
            box if i % 3 else None,
            f"{seed + i}.png",
            "toy",
        )
        for i in range(count)
    ]


def train_each(models: Path, runs: Path) -> None:
    """What each of the processes runs."""
    distributed.init_process_group("gloo")  # once: torch does not join anew in one process
    training, validation = make_pictures(8), make_pictures(16, seed=50)
    images_of = [[picture.image for picture in part] for part in (training, validation)]
    shape: dict[str, Any] = {"steps": STEPS, "batch": 4, "threads": 1}
    with noted(runs / "codec"):
        codec = CodecRun(runs / "codec", ALL_LAYERS_SPLIT, CONFIG, WEIGHTS, crop=64, **shape)
        train_codec(codec, make_darknet(), *images_of)
    with noted(runs / "detector"):
        (models / "small.cfg").write_text(ALL_LAYERS_CFG)
        detector = DetectorRun(
            out=runs / "detector",
            cfg=models / "small.cfg",
            seconds=1e9,
            max_steps=STEPS,
            image_size=64,
            image_sizes=(32, 64),
            batch_size=4,
            threads=1,
        )
        train_detector(detector, training, validation)
    with noted(runs / "tail"):
        folders = models / "small" / "1", models / "small-detector" / "1"
        train_tail(TailRun(runs / "tail", *folders, image_size=64, **shape), training, validation)
    with noted(runs / "triage"):
        of_toy = (
            load_codec_artifact(models / "toy" / "1"),
            load_detector_artifact(models / "toy-detector" / "1"),
        )
        triage = TriageRun(runs / "triage", views=1, **shape)
        train_triage(triage, *of_toy, training, validation, runs / "triage" / "toy" / "2")


@contextmanager
def noted(out: Path) -> Iterator[None]:
    """Keep what this process gave to each exchange and took from it, and what it ended with."""
    exchange, run = Processes.average, Loop.run
    notes: dict[str, list[Tensor]] = {"given": [], "taken": []}

    def average(self: Processes, tensors: Iterable[Tensor]) -> None:
        tensors = list(tensors)
        notes["given"].append(torch.cat([tensor.flatten() for tensor in tensors]))
        exchange(self, tensors)
        notes["taken"].append(torch.cat([tensor.flatten() for tensor in tensors]))

    def run_and_keep(self: Loop, task: Task) -> bool:
        is_over = run(self, task)
        kept = {**notes, "trained": task.trained.state_dict()}
        torch.save(kept, out / f"rank-{self.processes.rank}.pt")
        return is_over

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Processes, "average", average)
        patch.setattr(Loop, "run", run_and_keep)
        yield


@dataclass(frozen=True)
class Ranks:
    out: Path
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    make_models(root / "models")
    script = root / "worker.py"
    script.write_text(
        f"import sys\nsys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "from pathlib import Path\nfrom test_ranks import train_each\n"
        f"train_each(Path({str(root / 'models')!r}), Path({str(root / 'runs')!r}))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return root / "runs"


@pytest.fixture(params=WRITTEN)
def ranks(runs: Path, request: pytest.FixtureRequest) -> Ranks:
    out = runs / request.param
    first, second = (torch.load(out / f"rank-{r}.pt", weights_only=True) for r in range(2))
    return Ranks(out, first, second)


def test_both_end_with_the_same_weights_and_statistics(ranks: Ranks) -> None:
    first, second = ranks.first["trained"], ranks.second["trained"]

    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_each_learns_from_its_own_part_and_steps_by_the_mean_of_both(ranks: Ranks) -> None:
    given = zip(ranks.first["given"], ranks.second["given"], strict=True)
    taken = zip(ranks.first["taken"], ranks.second["taken"], strict=True)

    for (mine, its), means in zip(given, taken, strict=True):
        assert not torch.equal(mine, its)
        for mean in means:
            torch.testing.assert_close(mean, (mine + its) / 2)
    assert len(ranks.first["given"]) == STEPS


def test_the_first_alone_writes(ranks: Ranks) -> None:
    assert (ranks.out / WRITTEN[ranks.out.name]).exists()
    assert torch.load(ranks.out / "checkpoint.pt", weights_only=True)["step"] == STEPS
    assert [row["step"] for row in log_of(ranks.out)] == [str(STEPS)]
